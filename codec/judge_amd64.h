// What every kernel does with the masks of a block, 64 bits for 64 bytes, in
// general registers: 40 instructions however many lines lie in the block.
//
// Masks of the block, bit i for byte i:
//	AX  LF
//	R8  the three bytes before spell a type
//	CX  white space: SP, HTAB, CR
//	DX  digits
// Carried from block to block:
//	R11 1: the white space after a type may go on
//	R12 1: Seq may go on
//	R13 bit i: the separator after a type is due at byte i
// Sums:
//	R10 not zero: something is wrong
//	R14 LFs
//	R15 NAKs
//
// An addition finds the end of a run: in mask + first, where first is the
// lowest bit of a run in mask, the run turns to zeros and the bit after it is
// set; runs without a first stay as they are. A run that reaches bit 63
// overflows, and the carry is the first of the next block.

// BEGINS leaves in BX the separators after types: four bytes after each LF.
// They must be white space after a type.
#define BEGINS \
	MOVQ AX, BX; \
	SHLQ $4, BX; \
	ORQ R13, BX; \
	MOVQ AX, R13; \
	SHRQ $60, R13; \
	POPCNTQ AX, R9; \
	ADDQ R9, R14; \
	ANDQ CX, R8; \
	ANDNQ BX, R8, R9; \
	ORQ R9, R10

// SPACES leaves in R9 the first bytes after the white space that follows the
// types in BX.
#define SPACES \
	ORQ R11, BX; \
	MOVQ CX, R9; \
	XORL R11, R11; \
	ADDQ BX, R9; \
	ADCQ $0, R11; \
	ANDNQ R9, CX, R9

// DIGITS takes in R9 the first bytes of all Seqs, after their signs. They must
// be digits, and the byte after the run of digits white space or LF.
#define DIGITS \
	ANDNQ R9, DX, R8; \
	ORQ R8, R10; \
	ORQ R12, R9; \
	MOVQ DX, R8; \
	XORL R12, R12; \
	ADDQ R9, R8; \
	ADCQ $0, R12; \
	ANDNQ R8, DX, R8; \
	ORQ AX, CX; \
	ANDNQ R8, CX, R8; \
	ORQ R8, R10

// SIGNS takes in R9 the first bytes after the white space and in BX the minus
// signs; carried, which may be R8, is 1 when a sign ended the block before. It leaves in R9 the
// first bytes after the signs, and in BX 1 when a sign ends this block.
#define SIGNS(carried) \
	ANDQ R9, BX; \
	XORQ BX, R9; \
	ORQ carried, R9; \
	LEAQ (BX)(BX*1), R8; \
	ORQ R8, R9; \
	SHRQ $63, BX

// ONEBEGIN finds fault with two LFs among the last four bytes: the line
// between them is too short. Other lines of less than six bytes fail BEGINS,
// SPACES or DIGITS.
#define ONEBEGIN \
	BLSRQ R13, R8; \
	ORQ R8, R10

// LOAD and SAVE move what is carried between the registers and the blocks
// that R8 points to.
#define LOAD \
	MOVQ blocks_space(R8), R11; \
	MOVQ blocks_digit(R8), R12; \
	MOVQ blocks_begins(R8), R13; \
	MOVQ blocks_lines(R8), R14; \
	MOVQ blocks_naks(R8), R15

#define SAVE \
	MOVQ R11, blocks_space(R8); \
	MOVQ R12, blocks_digit(R8); \
	MOVQ R13, blocks_begins(R8); \
	MOVQ R14, blocks_lines(R8); \
	MOVQ R15, blocks_naks(R8)

// The rest is for groups with few LFs.

// COUNT makes R10 the number of LFs in AX, BX, CX and DX.
#define COUNT \
	POPCNTQ AX, R10; \
	POPCNTQ BX, R8; \
	POPCNTQ CX, R9; \
	ADDQ R8, R10; \
	POPCNTQ DX, R8; \
	ADDQ R9, R10; \
	ADDQ R8, R10

// FIRST makes to the offset in the group of the first of them. (TZCNT sets the
// carry flag if there is none in its block; LEA keeps flags.)
#define FIRST(to) \
	TZCNTQ DX, to; \
	ADDQ $192, to; \
	TZCNTQ CX, R8; \
	LEAQ 128(R8), R8; \
	CMOVQCC R8, to; \
	TZCNTQ BX, R8; \
	LEAQ 64(R8), R8; \
	CMOVQCC R8, to; \
	TZCNTQ AX, R8; \
	CMOVQCC R8, to

// LAST makes to the offset in the group of the last of them. (BSR sets the zero
// flag if there is none in its block.)
#define LAST(to) \
	BSRQ AX, to; \
	BSRQ BX, R8; \
	LEAQ 64(R8), R8; \
	CMOVQNE R8, to; \
	BSRQ CX, R8; \
	LEAQ 128(R8), R8; \
	CMOVQNE R8, to; \
	BSRQ DX, R8; \
	LEAQ 192(R8), R8; \
	CMOVQNE R8, to

// HEADEND judges what follows a type, given the white space CX, the digits DX
// and the LFs BX of the 64 bytes from the line's begin on. It goes to other if
// Seq does not end there, or has a sign, or the line is bad.
#define HEADEND(other) \
	TESTB $8, CX; \
	JEQ other; \
	LEAQ 8(CX), R8; \
	ANDNQ R8, CX, R8; \
	TESTQ DX, R8; \
	JEQ other; \
	ADDQ DX, R8; \
	ANDNQ R8, DX, R8; \
	ORQ CX, BX; \
	TESTQ BX, R8; \
	JEQ other

// TAKEHEADS takes the group, whose R10 LFs are at R11 and R12, with R13 NAKs.
#define TAKEHEADS \
	ADDQ R10, R14; \
	ADDQ R13, R15; \
	MOVQ SI, BX; \
	SUBQ blocks_chunk(R8), BX; \
	LEAQ 256(BX), CX; \
	MOVQ CX, blocks_lf(R8); \
	ADDQ $256, SI; \
	MOVQ blocks_ends(R8), R9; \
	LEAQ 1(BX)(R11*1), AX; \
	LEAQ 1(BX)(R12*1), CX; \
	XORL R11, R11; \
	XORL R12, R12; \
	XORL R13, R13; \
	TESTQ R9, R9; \
	JEQ group; \
	MOVL AX, (R9); \
	MOVL CX, -4(R9)(R10*4); \
	LEAQ (R9)(R10*4), R9; \
	MOVQ R9, blocks_ends(R8)
