//go:build !noasm

#include "go_asm.h"
#include "textflag.h"
#include "judge_amd64.h"

// The AVX-512 kernels need F, BW, VL, VBMI2, and BMI1, BMI2, POPCNT.
//
//	SI       the block, or the first of a group of four
//	DI       the end of the chunk
//	Z0-Z3    the blocks of a group
//	K1-K4    their LFs
//	Z4-Z15   temporaries; Z4 gathers UTF-8 faults
//	Z16      LF           Z17-Z20  the letters of the types
//	Z21      spaceByLow   Z22      '0'          Z23  10        Z24 '-'
//	Z25-Z27  the UTF-8 tables                   Z28  0x0f
//	Z29      0x60         Z30      0x70         Z31  0x80
//
// General registers: see judge_amd64.h.

#define FILL(byte, reg) \
	MOVL $byte, AX; \
	VPBROADCASTB AX, reg

// CLASSES makes R8, CX and DX of the block at off, which data holds, after
// TYPES has made K5. It leaves the block's LFs, K-register lf, in AX.
#define CLASSES(off, data, lf) \
	TYPES(off); \
	VPSHUFB data, Z21, Z10; \
	VPCMPEQB Z10, data, K6; \
	VPSUBB Z22, data, Z11; \
	VPCMPUB $1, Z23, Z11, K7; \
	KMOVQ lf, AX; \
	KMOVQ K5, R8; \
	KMOVQ K6, CX; \
	KMOVQ K7, DX

// BLOCK judges one block of a group.
#define BLOCK(off, data, lf) \
	CLASSES(off, data, lf); \
	BEGINS; \
	NAKS; \
	SPACES; \
	DIGITS

// UTF8 adds the faults of the block at off, which data holds, to Z4. A byte
// must be a continuation byte two after E0.. and three after F0..; the tables
// know of twoConts only that it can be.
#define UTF8(off, data) \
	VMOVDQU64 (off-1)(SI), Z5; \
	VPSRLW $4, Z5, Z6; \
	VPANDQ Z28, Z6, Z6; \
	VPSHUFB Z6, Z25, Z6; \
	VPANDQ Z28, Z5, Z5; \
	VPSHUFB Z5, Z26, Z5; \
	VPSRLW $4, data, Z7; \
	VPANDQ Z28, Z7, Z7; \
	VPSHUFB Z7, Z27, Z7; \
	VPTERNLOGQ $0x80, Z5, Z6, Z7; \
	VMOVDQU64 (off-2)(SI), Z8; \
	VPSUBUSB Z29, Z8, Z8; \
	VMOVDQU64 (off-3)(SI), Z9; \
	VPSUBUSB Z30, Z9, Z9; \
	VPTERNLOGQ $0xa8, Z31, Z9, Z8; \
	VPTERNLOGQ $0xf6, Z8, Z7, Z4

// ENDS stores the offsets after the LFs in K-register lf of the block at off
// of the group at offset BX to R9, and moves R9 on. A valid block has at most
// 11 LFs, so the first 16 bytes of the packed indices hold them all.
#define ENDS(off, lf) \
	VPCOMPRESSB Z15, lf, Z5; \
	KMOVQ lf, AX; \
	POPCNTQ AX, AX; \
	VPMOVZXBD X5, Z5; \
	LEAQ off(BX), CX; \
	VPBROADCASTD CX, Z6; \
	VPADDD Z6, Z5, Z5; \
	MOVL $-1, DX; \
	BZHIL AX, DX, DX; \
	KMOVW DX, K5; \
	VMOVDQU32 Z5, K5, (R9); \
	LEAQ (R9)(AX*4), R9

// HEAD judges the head of the line after the LF at offset lf of the group, or
// goes to other. HEADTYPE makes R9 1 if its type is NAK.
#define HEAD(lf, other) \
	LEAQ 1(SI)(lf*1), AX; \
	VMOVDQU64 (AX), Z5; \
	VPSHUFB Z5, Z21, Z6; \
	VPCMPEQB Z6, Z5, K5; \
	VPSUBB Z22, Z5, Z6; \
	VPCMPUB $1, Z23, Z6, K6; \
	VPCMPEQB Z16, Z5, K0; \
	KMOVQ K5, CX; \
	KMOVQ K6, DX; \
	KMOVQ K0, BX; \
	MOVL (AX), AX; \
	SHLL $8, AX; \
	HEADEND(other); \
	HEADTYPE(other)

// func requests512(b *blocks)
TEXT ·requests512(SB), NOSPLIT, $0-8
	FILL('R', Z17)
	FILL('E', Z18)
	FILL('Q', Z19)

// TYPES makes K5: the bytes after "REQ".
#define TYPES(off) \
	VPXORQ (off-3)(SI), Z17, Z8; \
	VPTERNLOGQ $0xf6, (off-2)(SI), Z18, Z8; \
	VPTERNLOGQ $0xf6, (off-1)(SI), Z19, Z8; \
	VPTESTNMB Z8, Z8, K5
#define NAKS
#define HEADTYPE(other) \
	XORL R9, R9; \
	CMPL AX, $('R'<<8|'E'<<16|'Q'<<24); \
	JNE other
#include "scan512_amd64.h"
#undef TYPES
#undef NAKS
#undef HEADTYPE

// func answers512(b *blocks)
TEXT ·answers512(SB), NOSPLIT, $0-8
	FILL('A', Z17)
	FILL('C', Z18)
	FILL('K', Z19)
	FILL('N', Z20)

// TYPES makes K5: the bytes after "ACK" or "NAK", and K0: those after "NA" and
// any byte.
#define TYPES(off) \
	VMOVDQU64 (off-3)(SI), Z9; \
	VMOVDQU64 (off-2)(SI), Z10; \
	VPXORQ Z9, Z17, Z8; \
	VPTERNLOGQ $0xf6, Z10, Z18, Z8; \
	VPXORQ Z9, Z20, Z9; \
	VPTERNLOGQ $0xf6, Z10, Z17, Z9; \
	VPMINUB Z8, Z9, Z8; \
	VPTERNLOGQ $0xf6, (off-1)(SI), Z19, Z8; \
	VPTESTNMB Z8, Z8, K5; \
	VPTESTNMB Z9, Z9, K0

// NAKS counts those of the types in BX that are NAK.
#define NAKS \
	KMOVQ K0, R9; \
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
#include "scan512_amd64.h"
#undef TYPES
#undef NAKS
#undef HEADTYPE
