// The body of an AVX2 kernel, after its letters are in place.
//
//	group ──▶ 256 bytes without LF, nothing carried: Data, only UTF-8 matters
//	  │
//	  ├────▶ 256 bytes with lines: four blocks judged, one verdict
//	  ▼
//	block ──▶ one block judged, signs allowed; where a group failed, for a
//	          while after it, and for the last blocks of the chunk

	VMOVDQU lineFeed<>(SB), Y15
	CONSTANTS
	LETTERS

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
	// wide: bytes that are not ASCII, of the group and the three bytes before,
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
	VPMOVMSKB Y0, R9
	MOVQ R9, wide-8(SP)

	MOVQ R11, R8
	ORQ  R12, R8
	ORQ  R13, R8
	JNE  lines
	MOVQ AX, R8
	ORQ  BX, R8
	ORQ  CX, R8
	ORQ  DX, R8
	JNE  some
	TESTQ R9, R9
	JNE  data
	ADDQ $256, SI
	JMP  group

data:
	UTF8GROUP
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

some:
	// One or two LFs and nothing carried: look at the heads of the lines that
	// they begin and leave the rest unjudged, as Data. A head may lie in the
	// next group, which then need not look at it again.
	COUNT
	CMPQ R10, $2
	JA   lines
	LAST(R12)
	LEAQ 65(SI)(R12*1), R8
	CMPQ R8, DI
	JA   lines2
	FIRST(R11)
	HEAD(R11, lines2)
	MOVQ R9, R13
	HEAD(R12, lines2)
	LEAQ -1(R10), R8 // the only LF counts once
	ANDQ R8, R9
	ADDQ R9, R13
	CMPQ wide-8(SP), $0
	JEQ  heads
	UTF8GROUP
	FAULTS
	JNE  lines2

heads:
	MOVQ b+0(FP), R8
	TAKEHEADS
	JMP  group

lines2:
	XORL R11, R11
	XORL R12, R12
	XORL R13, R13

lines:
	MOVQ b+0(FP), R8
	SAVE
	MOVQ wide-8(SP), R10
	TESTQ R10, R10
	JEQ  judge
	UTF8GROUP
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

	MOVQ R14, R10
	SUBQ blocks_lines(R8), R10
	CMPQ R10, $2
	JLS  few

commit:
	// Where the last LF is, and the line ends.
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

few:
	// If only a head carries over, look at all of it now. Otherwise lines of
	// 128 or 256 bytes might carry from each group to the next.
	TESTQ R10, R10
	JEQ  commit
	MOVQ R11, R9
	ORQ  R12, R9
	ORQ  R13, R9
	JEQ  commit
	MOVQ lf0-40(SP), AX
	MOVQ lf1-32(SP), BX
	MOVQ lf2-24(SP), CX
	MOVQ lf3-16(SP), DX
	LAST(R10)
	LEAQ 65(SI)(R10*1), R8
	CMPQ R8, DI
	JA   rest
	HEAD(R10, rest)
	NEGQ R13 // a type that is due is not counted yet
	SBBQ R8, R8
	ANDQ R8, R9
	ADDQ R9, R15
	XORL R11, R11
	XORL R12, R12
	XORL R13, R13

rest:
	MOVQ b+0(FP), R8
	JMP  commit

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
	UTF8TABLES
	UTF8(0)
	UTF8(32)
	CONSTANTS
	LETTERS
	FAULTS
	MOVQ AX, R10

ascii:
	FIND(0, Y15, AX, R9)
	MOVQ AX, lf0-40(SP)
	CLASSES(0)
	BEGINS
	NAKS
	SPACES
	VMOVDQU minusSign<>(SB), Y2
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
