//go:build amd64 && !noasm

package codec

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// A mutant is one deliberate fault: in file, the first old becomes new. Each
// must make the test suite fail.
type mutant struct{ name, file, old, new string }

var mutants512 = []mutant{
	{"type: two letters compared with one", "kernel512_amd64.s", "(off-2)(SI), Z18, Z8", "(off-2)(SI), Z17, Z8"},
	{"answers: NA counts for any second letter", "kernel512_amd64.s", "VPTERNLOGQ $0xf6, Z10, Z17, Z9", "VPORQ Z9, Z9, Z9"},
	{"digit: colon is one", "kernel512_amd64.s", "VPCMPUB $1, Z23, Z11, K7", "VPCMPUB $2, Z23, Z11, K7"},
	{"head: colon is a digit", "kernel512_amd64.s", "VPCMPUB $1, Z23, Z6, K6", "VPCMPUB $2, Z23, Z6, K6"},
	{"UTF-8: second byte before is the first", "kernel512_amd64.s", "VMOVDQU64 (off-2)(SI), Z8", "VMOVDQU64 (off-1)(SI), Z8"},
	{"UTF-8: EF begins four bytes", "scan512_amd64.h", "FILL(0x70, Z30)", "FILL(0x6f, Z30)"},
	{"UTF-8: a group does not look at the three bytes before", "scan512_amd64.h", "VMOVDQU64 -3(SI), Z4", "VMOVDQU64 (SI), Z4"},
	{"UTF-8: a block does not look at the three bytes before", "scan512_amd64.h", "VPORQ -3(SI), Z0, Z4", "VMOVDQU64 Z0, Z4"},
	{"UTF-8: faults of Data are not looked at", "scan512_amd64.h", "KORTESTQ K7, K7\n\tJNE  single", "KORTESTQ K7, K7"},
	{"line ends: stored sixteen at a time", "kernel512_amd64.s", "KMOVW DX, K5;", "KXNORW K5, K5, K5;"},
	{"line ends: offset of the LF itself", "tables_amd64.go", "uint8(i + 1)", "uint8(i)"},
	{"group: read beyond the chunk", "scan512_amd64.h", "LEAQ 256(SI), R8\n\tCMPQ R8, DI", "LEAQ 255(SI), R8\n\tCMPQ R8, DI"},
	{"head: read beyond the chunk", "scan512_amd64.h", "LEAQ 65(SI)(R12*1), R8", "LEAQ 1(SI)(R12*1), R8"},
	{"heads: the only line's NAK counts twice", "scan512_amd64.h", "\tANDQ R8, R9\n\tADDQ R9, R13", "\tADDQ R9, R13"},
	{"few: a NAK counted before counts again", "scan512_amd64.h", "\tANDQ R8, R9\n\tADDQ R9, R15", "\tADDQ R9, R15"},
	{"retry: the group's state is not restored", "scan512_amd64.h", "retry:\n\tLOAD", "retry:"},
	{"failed: the block's state is not restored", "scan512_amd64.h", "failed:\n\tLOAD", "failed:"},
}

var mutants256 = []mutant{
	{"digit: colon is one", "kernel256_amd64.s", "CONSTANT(pastDigits, 0x8a8a", "CONSTANT(pastDigits, 0x8b8a"},
	{"halves: the high one is a bit low", "kernel256_amd64.s", "SHLQ $32, hi", "SHLQ $31, hi"},
	{"type: third letter is not looked at", "kernel256_amd64.s", "\tVPAND Y1, Y0, Y0; \\\n\tVPAND Y2, Y0, Y0", "\tVPAND Y1, Y0, Y0"},
	{"UTF-8: third byte judged as the fourth", "kernel256_amd64.s", "VPSUBUSB Y10, Y2, Y2", "VPSUBUSB Y9, Y2, Y2"},
	{"UTF-8: constants are not given back", "kernel256_amd64.s", "\tUTF8(224); \\\n\tCONSTANTS; \\\n\tLETTERS", "\tUTF8(224); \\\n\tLETTERS"},
	{"UTF-8: the last half of a group is not looked at", "kernel256_amd64.s", "\tUTF8(224); \\\n", ""},
	{"wide: the last half of a group is not looked at", "scan256_amd64.h", "VPOR 224(SI), Y0, Y0", "VPOR 192(SI), Y0, Y0"},
	{"line ends: offset of the LF itself", "kernel256_amd64.s", "LEAQ (off+1)(BX)", "LEAQ (off)(BX)"},
	{"head: read beyond the chunk", "scan256_amd64.h", "LEAQ 65(SI)(R12*1), R8", "LEAQ 1(SI)(R12*1), R8"},
	{"block: read beyond the chunk", "scan256_amd64.h", "LEAQ 64(SI), R9\n\tCMPQ R9, DI\n\tJA   done", "LEAQ 63(SI), R9\n\tCMPQ R9, DI\n\tJA   done"},
}

// mutantsBoth are in what the kernels share.
var mutantsBoth = []mutant{
	{"begins: a line that begins at byte 60 is forgotten", "judge_amd64.h", "SHRQ $60, R13", "SHRQ $61, R13"},
	{"begins: any letters are a type", "judge_amd64.h", "\tANDNQ BX, R8, R9; \\\n\tORQ R9, R10", "\tANDNQ BX, R8, R9"},
	{"spaces: a run ends with the block", "judge_amd64.h", "\tORQ R11, BX; \\\n", ""},
	{"digits: a run ends with the block", "judge_amd64.h", "\tORQ R12, R9; \\\n", ""},
	{"digits: none are needed", "judge_amd64.h", "\tANDNQ R9, DX, R8; \\\n\tORQ R8, R10; \\\n", ""},
	{"digits: LF may not follow", "judge_amd64.h", "\tORQ AX, CX; \\\n", ""},
	{"digits: anything may follow", "judge_amd64.h", "\tANDNQ R8, CX, R8; \\\n\tORQ R8, R10\n", "\tANDNQ R8, CX, R8\n"},
	{"signs: one at the end of a block is forgotten", "judge_amd64.h", "SHRQ $63, BX", "XORL BX, BX"},
	{"lines: two LFs among the last four bytes", "judge_amd64.h", "BLSRQ R13, R8", "XORL R8, R8"},
	{"head: no white space is needed", "judge_amd64.h", "\tTESTB $8, CX; \\\n\tJEQ other; \\\n", ""},
	{"head: anything may follow Seq", "judge_amd64.h", "\tTESTQ BX, R8; \\\n\tJEQ other\n", "\tTESTQ BX, R8\n"},
	{"heads: NAKs are not counted", "judge_amd64.h", "\tADDQ R13, R15; \\\n", ""},
	{"UTF-8: E0 90 is not overlong", "tables_amd64.go", "0x9: cont | overlong3 | tooLarge", "0x9: cont | tooLarge"},
	{"UTF-8: surrogates are characters", "tables_amd64.go", "0xa: cont | surrogate | tooLarge", "0xa: cont | tooLarge"},
	{"exit: a cut character of three bytes is forgotten", "kernel_amd64.go", "case b[n-2] >= 0xe0:", "case b[n-2] > 0xf8:"},
	{"exit: a bad first byte is forgotten", "kernel_amd64.go", "case b[n-1] >= 0xc0:", "case b[n-1] >= 0xc2:"},
	{"exit: the open line's NAK counts at its type", "kernel_amd64.go", "p.naks += naks - uint64(s.nak)", "p.naks += naks"},
	{"exit: the current line begins at the kernel's end", "kernel_amd64.go", "return at - bits.LeadingZeros64(lf)/8", "return at - bits.LeadingZeros64(lf)/64"},
	{"start: a kernel looks back before the chunk", "kernel_amd64.go", "lookBack = 3", "lookBack = 0"},
}

// Every mutant fits the source as it is: there is something for it to change.
func TestMutantListFits(t *testing.T) {
	for _, m := range slices.Concat(mutants512, mutants256, mutantsBoth) {
		text, err := os.ReadFile(m.file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), m.old) || m.old == m.new {
			t.Errorf("%s: %q is not in %s, or becomes the same", m.name, m.old, m.file)
		}
	}
}
