package codec

// kernelID names an implementation of the scanner's fast path.
type kernelID uint8

const (
	portable kernelID = iota
	avx2
	avx512
)

// kernel is the fastest implementation that this processor and operating
// system can run. Only tests change it.
var kernel = available()[0]

// Kernel names the implementation in use: "avx512", "avx2" or "portable".
func Kernel() string { return kernel.String() }

func (k kernelID) String() string {
	switch k {
	case avx512:
		return "avx512"
	case avx2:
		return "avx2"
	}
	return "portable"
}
