// The body of an AVX2 kernel, after its letters are in place.
//
//	group ──▶ 256 bytes without LF, nothing carried: Data, only UTF-8 matters
//	  │
//	  ├────▶ 256 bytes with lines: four blocks judged, one verdict
//	  ▼
//	block ──▶ one block judged, signs allowed; where a group failed, for a
//	          while after it, and for the last blocks of the chunk

	FILL('\n', Y15, X15)
	VBROADCASTI128 ·spaceByLow(SB), Y10
	FILL(0x50, Y9, X9)
	FILL(0x8a, Y8, X8)

	MOVQ b+0(FP), R8
	MOVQ blocks_chunk(R8), DI
	MOVQ DI, SI
	ADDQ blocks_at(R8), SI
	ADDQ blocks_stop(R8), DI
	LOAD
	CMPQ blocks_minus(R8), $0
	JNE  block

group:
	LEAQ 256(SI), R8
	CMPQ R8, DI
	JA   block
	FIND(0, Y15, AX, R9)
	FIND(64, Y15, BX, R9)
	FIND(128, Y15, CX, R9)
	FIND(192, Y15, DX, R9)
	MOVQ AX, lf0-40(SP)
	MOVQ BX, lf1-32(SP)
	MOVQ CX, lf2-24(SP)
	MOVQ DX, lf3-16(SP)
	ORQ  AX, BX
	ORQ  CX, DX

	// R10: bytes that are not ASCII, of the group and the three bytes before,
	// whose character the group may have to continue.
	VMOVDQU -3(SI), Y0
	VMOVDQU 32(SI), Y1
	VPOR (SI), Y0, Y0
	VPOR 64(SI), Y1, Y1
	VPOR 96(SI), Y0, Y0
	VPOR 128(SI), Y1, Y1
	VPOR 160(SI), Y0, Y0
	VPOR 192(SI), Y1, Y1
	VPOR 224(SI), Y0, Y0
	VPOR Y1, Y0, Y0
	VPMOVMSKB Y0, R10

	ORQ  BX, DX
	JNE  lines
	MOVQ R11, R8
	ORQ  R12, R8
	ORQ  R13, R8
	JNE  lines
	TESTQ R10, R10
	JNE  data
	ADDQ $256, SI
	JMP  group

data:
	VPXOR Y7, Y7, Y7
	UTF8(0)
	UTF8(32)
	UTF8(64)
	UTF8(96)
	UTF8(128)
	UTF8(160)
	UTF8(192)
	UTF8(224)
	FAULTS
	JNE  single
	ADDQ $256, SI
	JMP  group

single:
	// Nothing of this group is taken yet. The error, or sign, is found block
	// by block; signs come in swarms, so the next 16 blocks go the same way.
	MOVQ b+0(FP), R8
	MOVQ $16, blocks_full(R8)
	JMP  block

lines:
	MOVQ b+0(FP), R8
	SAVE
	TESTQ R10, R10
	JEQ  judge
	VPXOR Y7, Y7, Y7
	UTF8(0)
	UTF8(32)
	UTF8(64)
	UTF8(96)
	UTF8(128)
	UTF8(160)
	UTF8(192)
	UTF8(224)
	FAULTS
	MOVQ AX, R10

judge:
	BLOCK(0, lf0-40(SP))
	BLOCK(64, lf1-32(SP))
	BLOCK(128, lf2-24(SP))
	BLOCK(192, lf3-16(SP))
	ONEBEGIN
	MOVQ b+0(FP), R8
	TESTQ R10, R10
	JNE  retry

	// Commit: where the last LF is, and the line ends.
	MOVQ SI, BX
	SUBQ blocks_chunk(R8), BX
	LEAQ 256(BX), CX
	MOVQ blocks_lf(R8), DX
	CMPQ R14, blocks_lines(R8)
	CMOVQNE CX, DX
	MOVQ DX, blocks_lf(R8)
	MOVQ blocks_ends(R8), R9
	ADDQ $256, SI
	TESTQ R9, R9
	JEQ  group
	ENDS(0, lf0-40(SP), end0, over0)
	ENDS(64, lf1-32(SP), end1, over1)
	ENDS(128, lf2-24(SP), end2, over2)
	ENDS(192, lf3-16(SP), end3, over3)
	MOVQ R9, blocks_ends(R8)
	JMP  group

retry:
	LOAD
	MOVQ $16, blocks_full(R8)

block:
	MOVQ b+0(FP), R8
	SAVE
	LEAQ 64(SI), R9
	CMPQ R9, DI
	JA   done
	VMOVDQU -3(SI), Y0
	VPOR (SI), Y0, Y0
	VPOR 32(SI), Y0, Y0
	VPMOVMSKB Y0, R10
	TESTQ R10, R10
	JEQ  ascii
	VPXOR Y7, Y7, Y7
	UTF8(0)
	UTF8(32)
	FAULTS
	MOVQ AX, R10

ascii:
	FIND(0, Y15, AX, R9)
	MOVQ AX, lf0-40(SP)
	CLASSES(0)
	BEGINS
	NAKS
	SPACES
	VMOVDQU sign<>(SB), Y2
	FIND(0, Y2, BX, R8)
	MOVQ b+0(FP), R8
	MOVQ blocks_minus(R8), R8
	SIGNS(R8)
	DIGITS
	ONEBEGIN
	MOVQ b+0(FP), R8
	TESTQ R10, R10
	JNE  failed

	MOVQ BX, blocks_minus(R8)
	MOVQ SI, BX
	SUBQ blocks_chunk(R8), BX
	LEAQ 64(BX), CX
	MOVQ blocks_lf(R8), DX
	CMPQ R14, blocks_lines(R8)
	CMOVQNE CX, DX
	MOVQ DX, blocks_lf(R8)
	ADDQ $64, SI
	MOVQ blocks_ends(R8), R9
	TESTQ R9, R9
	JEQ  next
	ENDS(0, lf0-40(SP), end, over)
	MOVQ R9, blocks_ends(R8)

next:
	// Back to groups when the swarm is over; they know no carried sign.
	DECQ blocks_full(R8)
	JGT  block
	CMPQ blocks_minus(R8), $0
	JNE  block
	LEAQ 256(SI), R9
	CMPQ R9, DI
	JLS  group
	JMP  block

failed:
	LOAD

done:
	MOVQ b+0(FP), R8
	SAVE
	SUBQ blocks_chunk(R8), SI
	MOVQ SI, blocks_at(R8)
	VZEROUPPER
	RET
