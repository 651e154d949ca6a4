//go:build !noasm

#include "go_asm.h"
#include "textflag.h"
#include "judge_amd64.h"

// The AVX2 kernels need AVX2, BMI1, BMI2 and POPCNT. A block is two halves of
// 32 bytes; a mask is made of both.
//
//	SI       the block, or the first of a group of four
//	DI       the end of the chunk
//	Y0-Y6    temporaries
//	Y7       gathers UTF-8 faults
//	Y8       what digits are below after Y9 was added, as signed bytes
//	Y9       0x50, which takes '0' to the least signed byte
//	Y10      spaceByLow
//	Y11-Y14  the letters of the types
//	Y15      LF
//	lf0-lf3  the LFs of a group (on the stack)
//	na       the bytes after "NA" and any byte
//	wide     not zero if a group has bytes that are not ASCII
//
// UTF-8 validation takes Y8 to Y14 for its tables and gives them back.
// General registers: see judge_amd64.h.

#define CONSTANT(name, eight) \
	DATA name<>+0(SB)/8, $eight; \
	DATA name<>+8(SB)/8, $eight; \
	DATA name<>+16(SB)/8, $eight; \
	DATA name<>+24(SB)/8, $eight; \
	GLOBL name<>(SB), RODATA|NOPTR, $32

CONSTANT(letterA, 0x4141414141414141)
CONSTANT(letterC, 0x4343434343434343)
CONSTANT(letterE, 0x4545454545454545)
CONSTANT(letterK, 0x4b4b4b4b4b4b4b4b)
CONSTANT(letterN, 0x4e4e4e4e4e4e4e4e)
CONSTANT(letterQ, 0x5151515151515151)
CONSTANT(letterR, 0x5252525252525252)
CONSTANT(lineFeed, 0x0a0a0a0a0a0a0a0a)
CONSTANT(minusSign, 0x2d2d2d2d2d2d2d2d)
CONSTANT(toLeast, 0x5050505050505050)
CONSTANT(pastDigits, 0x8a8a8a8a8a8a8a8a)
CONSTANT(lowHalf, 0x0f0f0f0f0f0f0f0f)
CONSTANT(third, 0x6060606060606060)
CONSTANT(fourth, 0x7070707070707070)
CONSTANT(high, 0x8080808080808080)

// CONSTANTS fills Y8 to Y10; LETTERS fills Y11 to Y14.
#define CONSTANTS \
	VMOVDQU pastDigits<>(SB), Y8; \
	VMOVDQU toLeast<>(SB), Y9; \
	VBROADCASTI128 ·spaceByLow(SB), Y10

// JOIN puts the masks of two halves, in to and hi, together in to.
#define JOIN(hi, to) \
	SHLQ $32, hi; \
	ORQ hi, to

// FIND makes in to the mask of the bytes of the block at off that equal those
// of the register byte. It uses tmp.
#define FIND(off, byte, to, tmp) \
	VPCMPEQB off(SI), byte, Y0; \
	VPCMPEQB (off+32)(SI), byte, Y1; \
	VPMOVMSKB Y0, to; \
	VPMOVMSKB Y1, tmp; \
	JOIN(tmp, to)

// SPACEDIGIT makes CX and DX of the bytes in Y0 and Y1.
#define SPACEDIGIT \
	VPSHUFB Y0, Y10, Y2; \
	VPSHUFB Y1, Y10, Y3; \
	VPCMPEQB Y0, Y2, Y2; \
	VPCMPEQB Y1, Y3, Y3; \
	VPMOVMSKB Y2, CX; \
	VPMOVMSKB Y3, R9; \
	JOIN(R9, CX); \
	VPADDB Y0, Y9, Y0; \
	VPADDB Y1, Y9, Y1; \
	VPCMPGTB Y0, Y8, Y0; \
	VPCMPGTB Y1, Y8, Y1; \
	VPMOVMSKB Y0, DX; \
	VPMOVMSKB Y1, R9; \
	JOIN(R9, DX)

// CLASSES makes R8, CX and DX of the block at off.
#define CLASSES(off) \
	TYPES(off); \
	VMOVDQU off(SI), Y0; \
	VMOVDQU (off+32)(SI), Y1; \
	SPACEDIGIT

// BLOCK judges one block of a group.
#define BLOCK(off, lf) \
	CLASSES(off); \
	MOVQ lf, AX; \
	BEGINS; \
	NAKS; \
	SPACES; \
	DIGITS

// UTF8 adds the faults of the half block at off to Y7. A byte must be a
// continuation byte two after E0.. and three after F0..; the tables know of
// twoConts only that it can be.
#define UTF8(off) \
	VMOVDQU (off-1)(SI), Y0; \
	VPSRLW $4, Y0, Y1; \
	VPAND Y11, Y1, Y1; \
	VPAND Y11, Y0, Y0; \
	VPSHUFB Y1, Y12, Y1; \
	VPSHUFB Y0, Y13, Y0; \
	VPAND Y0, Y1, Y1; \
	VMOVDQU off(SI), Y0; \
	VPSRLW $4, Y0, Y0; \
	VPAND Y11, Y0, Y0; \
	VPSHUFB Y0, Y14, Y0; \
	VPAND Y0, Y1, Y1; \
	VMOVDQU (off-2)(SI), Y2; \
	VPSUBUSB Y10, Y2, Y2; \
	VMOVDQU (off-3)(SI), Y3; \
	VPSUBUSB Y9, Y3, Y3; \
	VPOR Y3, Y2, Y2; \
	VPAND Y8, Y2, Y2; \
	VPXOR Y1, Y2, Y2; \
	VPOR Y2, Y7, Y7

#define UTF8TABLES \
	VMOVDQU high<>(SB), Y8; \
	VMOVDQU fourth<>(SB), Y9; \
	VMOVDQU third<>(SB), Y10; \
	VMOVDQU lowHalf<>(SB), Y11; \
	VBROADCASTI128 ·utf8FirstHigh(SB), Y12; \
	VBROADCASTI128 ·utf8FirstLow(SB), Y13; \
	VBROADCASTI128 ·utf8SecondHigh(SB), Y14; \
	VPXOR Y7, Y7, Y7

// UTF8GROUP gathers the faults of a group.
#define UTF8GROUP \
	UTF8TABLES; \
	UTF8(0); \
	UTF8(32); \
	UTF8(64); \
	UTF8(96); \
	UTF8(128); \
	UTF8(160); \
	UTF8(192); \
	UTF8(224); \
	CONSTANTS; \
	LETTERS

// FAULTS makes AX not zero if Y7 has gathered any.
#define FAULTS \
	VPXOR Y0, Y0, Y0; \
	VPCMPEQB Y0, Y7, Y7; \
	VPMOVMSKB Y7, AX; \
	XORL $-1, AX

// ENDS stores the offsets after the LFs in lf, of the block at off of the group
// at offset BX, to R9, and moves R9 on. again and over are labels.
#define ENDS(off, lf, again, over) \
	MOVQ lf, AX; \
	TESTQ AX, AX; \
	JEQ over; \
again: \
	TZCNTQ AX, CX; \
	LEAQ (off+1)(BX)(CX*1), CX; \
	MOVL CX, (R9); \
	ADDQ $4, R9; \
	BLSRQ AX, AX; \
	JNE again; \
over:

// HEAD judges the head of the line after the LF at offset lf of the group, or
// goes to other. HEADTYPE makes R9 1 if its type is NAK.
#define HEAD(lf, other) \
	LEAQ 1(SI)(lf*1), AX; \
	VMOVDQU (AX), Y0; \
	VMOVDQU 32(AX), Y1; \
	VPCMPEQB Y0, Y15, Y2; \
	VPCMPEQB Y1, Y15, Y3; \
	VPMOVMSKB Y2, BX; \
	VPMOVMSKB Y3, R9; \
	JOIN(R9, BX); \
	SPACEDIGIT; \
	MOVL (AX), AX; \
	SHLL $8, AX; \
	HEADEND(other); \
	HEADTYPE(other)

// func requests256(b *blocks)
TEXT ·requests256(SB), NOSPLIT, $48-8
#define LETTERS \
	VMOVDQU letterR<>(SB), Y14; \
	VMOVDQU letterE<>(SB), Y13; \
	VMOVDQU letterQ<>(SB), Y12

// SPELT leaves in Y0 the bytes of the half block at off after "REQ".
#define SPELT(off) \
	VPCMPEQB (off-3)(SI), Y14, Y0; \
	VPCMPEQB (off-2)(SI), Y13, Y1; \
	VPCMPEQB (off-1)(SI), Y12, Y2; \
	VPAND Y1, Y0, Y0; \
	VPAND Y2, Y0, Y0

// TYPES makes R8: the bytes after "REQ".
#define TYPES(off) \
	SPELT(off); \
	VPMOVMSKB Y0, R8; \
	SPELT(off+32); \
	VPMOVMSKB Y0, R9; \
	JOIN(R9, R8)
#define NAKS
#define HEADTYPE(other) \
	XORL R9, R9; \
	CMPL AX, $('R'<<8|'E'<<16|'Q'<<24); \
	JNE other
#include "scan256_amd64.h"
#undef LETTERS
#undef SPELT
#undef TYPES
#undef NAKS
#undef HEADTYPE

// func answers256(b *blocks)
TEXT ·answers256(SB), NOSPLIT, $48-8
#define LETTERS \
	VMOVDQU letterA<>(SB), Y14; \
	VMOVDQU letterC<>(SB), Y13; \
	VMOVDQU letterK<>(SB), Y12; \
	VMOVDQU letterN<>(SB), Y11

// SPELT leaves in Y0 the bytes of the half block at off after "ACK" or "NAK",
// and in Y1 those after "NA" and any byte.
#define SPELT(off) \
	VMOVDQU (off-3)(SI), Y3; \
	VMOVDQU (off-2)(SI), Y4; \
	VPCMPEQB Y3, Y14, Y0; \
	VPCMPEQB Y4, Y13, Y2; \
	VPAND Y2, Y0, Y0; \
	VPCMPEQB Y3, Y11, Y1; \
	VPCMPEQB Y4, Y14, Y2; \
	VPAND Y2, Y1, Y1; \
	VPOR Y1, Y0, Y0; \
	VPCMPEQB (off-1)(SI), Y12, Y2; \
	VPAND Y2, Y0, Y0

// TYPES makes R8: the bytes after "ACK" or "NAK", and na.
#define TYPES(off) \
	SPELT(off); \
	VPMOVMSKB Y0, R8; \
	VPMOVMSKB Y1, CX; \
	SPELT(off+32); \
	VPMOVMSKB Y0, R9; \
	VPMOVMSKB Y1, DX; \
	JOIN(R9, R8); \
	JOIN(DX, CX); \
	MOVQ CX, na-48(SP)

// NAKS counts those of the types in BX that are NAK.
#define NAKS \
	MOVQ na-48(SP), R9; \
	ANDQ BX, R9; \
	POPCNTQ R9, R9; \
	ADDQ R9, R15
#define HEADTYPE(other) \
	XORL R8, R8; \
	XORL R9, R9; \
	CMPL AX, $('A'<<8|'C'<<16|'K'<<24); \
	SETEQ R8; \
	CMPL AX, $('N'<<8|'A'<<16|'K'<<24); \
	SETEQ R9; \
	ORQ R9, R8; \
	JEQ other
#include "scan256_amd64.h"
#undef LETTERS
#undef SPELT
#undef TYPES
#undef NAKS
#undef HEADTYPE
