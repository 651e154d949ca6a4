package report

import (
	"math"
	"slices"
)

// MannWhitney returns the two-sided p-value of the Mann-Whitney U test (Mann and Whitney, 1947): how probable it is that
// two samples of one distribution are ordered at least as unequally as a and b. It is exact, ties included: the null
// distribution is that of the rank sum over all ways to draw len(a) of the pooled midranks. 1 when a sample is empty.
func MannWhitney(a, b []float64) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 1
	}
	ranks := doubledMidranks(a, b)
	total, observed := 0, 0
	for i, r := range ranks {
		total += r
		if i < len(a) {
			observed += r
		}
	}
	// ways[k][s] is in how many ways k of the ranks sum to s.
	ways := make([][]float64, len(a)+1)
	for k := range ways {
		ways[k] = make([]float64, total+1)
	}
	ways[0][0] = 1
	for _, r := range ranks {
		for k := len(a); k > 0; k-- {
			for s := total; s >= r; s-- {
				ways[k][s] += ways[k-1][s-r]
			}
		}
	}
	// Twice the mean, to stay with integers: the mean of the rank sum is len(a)/n of the total.
	n := len(ranks)
	distance := abs(observed*n - len(a)*total)
	extreme, all := 0.0, 0.0
	for s, w := range ways[len(a)] {
		all += w
		if abs(s*n-len(a)*total) >= distance {
			extreme += w
		}
	}
	return min(extreme/all, 1)
}

// doubledMidranks ranks a and b together, first a's values, then b's; equal values share the mean of their ranks, so
// ranks are doubled to stay whole.
func doubledMidranks(a, b []float64) []int {
	pooled := slices.Concat(a, b)
	ranks := make([]int, len(pooled))
	for i, v := range pooled {
		below, equal := 0, 0
		for _, o := range pooled {
			if o < v {
				below++
			} else if o == v {
				equal++
			}
		}
		ranks[i] = 2*below + equal + 1
	}
	return ranks
}

// smallestP is the smallest p-value that samples of these sizes can reach without ties.
func smallestP(n, m int) float64 {
	if n == 0 || m == 0 {
		return 1
	}
	logWays := lgamma(n+m) - lgamma(n) - lgamma(m)
	return min(1, 2*math.Exp(-logWays))
}

// lgamma is the logarithm of n!.
func lgamma(n int) float64 {
	v, _ := math.Lgamma(float64(n + 1))
	return v
}

func abs(v int) int { return max(v, -v) }
