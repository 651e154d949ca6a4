// The body of an AVX-512 kernel, after its letters are in place.
//
//	group ──▶ 256 bytes without LF, nothing carried: Data, only UTF-8 matters
//	  │
//	  ├────▶ 256 bytes with lines: four blocks judged, one verdict
//	  ▼
//	block ──▶ one block judged, signs allowed; where a group failed, for a
//	          while after it, and for the last blocks of the chunk

	FILL('\n', Z16)
	VBROADCASTI32X4 ·spaceByLow(SB), Z21
	FILL('0', Z22)
	FILL(10, Z23)
	FILL('-', Z24)
	VBROADCASTI32X4 ·utf8FirstHigh(SB), Z25
	VBROADCASTI32X4 ·utf8FirstLow(SB), Z26
	VBROADCASTI32X4 ·utf8SecondHigh(SB), Z27
	FILL(0x0f, Z28)
	FILL(0x60, Z29)
	FILL(0x70, Z30)
	FILL(0x80, Z31)
	VMOVDQU64 ·oneUp(SB), Z15

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
	VMOVDQU64 (SI), Z0
	VMOVDQU64 64(SI), Z1
	VMOVDQU64 128(SI), Z2
	VMOVDQU64 192(SI), Z3
	VPCMPEQB Z16, Z0, K1
	VPCMPEQB Z16, Z1, K2
	VPCMPEQB Z16, Z2, K3
	VPCMPEQB Z16, Z3, K4

	// K7: bytes that are not ASCII, of the group and the three bytes before,
	// whose character the group may have to continue.
	VMOVDQU64 -3(SI), Z4
	VPTERNLOGQ $0xfe, Z0, Z1, Z4
	VPTERNLOGQ $0xfe, Z2, Z3, Z4
	VPMOVB2M Z4, K7

	KORQ K1, K2, K5
	KORQ K3, K4, K6
	MOVQ R11, R8
	ORQ  R12, R8
	ORQ  R13, R8
	JNE  lines
	KORTESTQ K5, K6
	JNE  some
	KORTESTQ K7, K7
	JNE  data
	ADDQ $256, SI
	JMP  group

data:
	VPXORQ Z4, Z4, Z4
	UTF8(0, Z0)
	UTF8(64, Z1)
	UTF8(128, Z2)
	UTF8(192, Z3)
	VPTESTMB Z4, Z4, K7
	KORTESTQ K7, K7
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
	KMOVQ K1, AX
	KMOVQ K2, BX
	KMOVQ K3, CX
	KMOVQ K4, DX
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
	KORTESTQ K7, K7
	JEQ  heads
	VPXORQ Z4, Z4, Z4
	UTF8(0, Z0)
	UTF8(64, Z1)
	UTF8(128, Z2)
	UTF8(192, Z3)
	VPTESTMB Z4, Z4, K7
	KORTESTQ K7, K7
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
	XORL R10, R10
	KORTESTQ K7, K7
	JEQ  judge
	VPXORQ Z4, Z4, Z4
	UTF8(0, Z0)
	UTF8(64, Z1)
	UTF8(128, Z2)
	UTF8(192, Z3)
	VPTESTMB Z4, Z4, K7
	KMOVQ K7, R10

judge:
	BLOCK(0, Z0, K1)
	BLOCK(64, Z1, K2)
	BLOCK(128, Z2, K3)
	BLOCK(192, Z3, K4)
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
	ENDS(0, K1)
	ENDS(64, K2)
	ENDS(128, K3)
	ENDS(192, K4)
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
	KMOVQ K1, AX
	KMOVQ K2, BX
	KMOVQ K3, CX
	KMOVQ K4, DX
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
	XORL R10, R10
	VMOVDQU64 (SI), Z0
	VPCMPEQB Z16, Z0, K1
	VPORQ -3(SI), Z0, Z4
	VPMOVB2M Z4, K7
	KORTESTQ K7, K7
	JEQ  ascii
	VPXORQ Z4, Z4, Z4
	UTF8(0, Z0)
	VPTESTMB Z4, Z4, K7
	KMOVQ K7, R10

ascii:
	VPCMPEQB Z24, Z0, K2
	CLASSES(0, Z0, K1)
	BEGINS
	NAKS
	SPACES
	KMOVQ K2, BX
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
	ENDS(0, K1)
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
