package load

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
)

// SizeMax is the largest message the generator sends, in bytes with its LF.
const SizeMax = 64 << 20

// Mix is the sizes of the requests and how often each occurs.
type Mix struct {
	sizes []int32
	upTo  []float64 // upper bound of each size's share of [0, 1)
	text  string
}

// ParseMix reads "64" or "64:0.9,16384:0.1": sizes in bytes, LF included, each with its weight. A request is never shorter
// than its type, its Seq and its LF.
func ParseMix(text string) (Mix, error) {
	m := Mix{text: text}
	var weights []float64
	var sum float64
	for part := range strings.SplitSeq(text, ",") {
		size, weight, given := strings.Cut(strings.TrimSpace(part), ":")
		n, err := strconv.Atoi(size)
		if err != nil || n < 1 || n > SizeMax {
			return m, fmt.Errorf("size %q: want a number of bytes from 1 to %d", size, SizeMax)
		}
		w := 1.0
		if given {
			if w, err = strconv.ParseFloat(weight, 64); err != nil || !(w > 0 && w < 1e9) {
				return m, fmt.Errorf("weight %q of size %d: want a number above 0", weight, n)
			}
		}
		m.sizes = append(m.sizes, int32(n))
		weights = append(weights, w)
		sum += w
	}
	var acc float64
	for _, w := range weights {
		acc += w / sum
		m.upTo = append(m.upTo, acc)
	}
	return m, nil
}

// String is the mix as it was given.
func (m Mix) String() string { return m.text }

// Max is the largest size.
func (m Mix) Max() int {
	largest := int32(0)
	for _, s := range m.sizes {
		largest = max(largest, s)
	}
	return int(largest)
}

// Mean is the average size in bytes.
func (m Mix) Mean() float64 {
	var sum, from float64
	for i, s := range m.sizes {
		sum += float64(s) * (m.upTo[i] - from)
		from = m.upTo[i]
	}
	return sum
}

// pick draws a size.
func (m *Mix) pick(r *rand.PCG) int32 {
	if len(m.sizes) == 1 {
		return m.sizes[0]
	}
	u := float64(r.Uint64()>>11) / (1 << 53)
	i := sort.SearchFloat64s(m.upTo, u)
	return m.sizes[min(i, len(m.sizes)-1)]
}
