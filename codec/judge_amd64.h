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
