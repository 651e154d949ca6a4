package stats

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"pgregory.net/rapid"
)

func record(values ...int64) *Distribution {
	h := new(Histogram)
	for _, v := range values {
		h.Record(v)
	}
	h.Publish()
	d := new(Distribution)
	d.Add(h)
	return d
}

// Every bucket begins where the one before ends, and a value lies in the bucket that claims it.
func TestBucketsAreContiguous(t *testing.T) {
	next := int64(0)
	for i := range buckets {
		lo, hi := bucketRange(i)
		if lo != next || hi < lo {
			t.Fatalf("bucket %d is [%d, %d], want it to begin at %d", i, lo, hi, next)
		}
		for _, v := range []int64{lo, (lo + hi) / 2, hi} {
			if got := bucketOf(uint64(v)); got != uint(i) {
				t.Fatalf("%d is in bucket %d, want %d", v, got, i)
			}
		}
		if width := hi - lo; width > lo/1000 {
			t.Fatalf("bucket %d, [%d, %d], is wider than three digits allow", i, lo, hi)
		}
		next = hi + 1
	}
	if next != valueMax+1 {
		t.Fatalf("the buckets end at %d, want %d", next, valueMax+1)
	}
	if valueMax < int64(60*time.Second) {
		t.Fatalf("the range ends at %d ns", int64(valueMax))
	}
}

func durations(t *rapid.T) []int64 {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) int64 {
		bits := rapid.IntRange(0, 35).Draw(t, "bits")
		return rapid.Int64Range(0, 1<<bits).Draw(t, "ns")
	}), 1, 300).Draw(t, "durations")
}

func TestQuantilesAgainstSortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := durations(t)
		d := record(values...)
		slices.Sort(values)
		var sum uint64
		for _, v := range values {
			sum += uint64(v)
		}
		if d.Count != uint64(len(values)) || d.Sum != sum || d.Max != values[len(values)-1] {
			t.Fatalf("count %d sum %d max %d of %v", d.Count, d.Sum, d.Max, values)
		}
		for _, q := range []float64{0, 0.25, 0.5, 0.9, 0.99, 1} {
			want := values[max(int(math.Ceil(q*float64(len(values)))), 1)-1]
			if got := d.Quantile(q); got < want || got > want+want/1000 {
				t.Fatalf("quantile %v is %d, want %d to three digits", q, got, want)
			}
		}
		at := rapid.Int64Range(0, 1<<35).Draw(t, "up to")
		low, high := uint64(0), uint64(0)
		for _, v := range values {
			if v <= at {
				low++
			}
			if v <= at+at/1000 {
				high++
			}
		}
		if got := d.CountUpTo(at); got < low || got > high {
			t.Fatalf("%d durations up to %d, want %d to %d", got, at, low, high)
		}
		var n uint64
		d.Each(func(lo, hi int64, count uint64) {
			for _, v := range values {
				if v >= lo && v <= hi {
					count--
				}
			}
			if count != 0 {
				t.Fatalf("bucket [%d, %d] is off by %d", lo, hi, int64(count))
			}
			n++
		})
		if n == 0 {
			t.Fatal("no bucket has a count")
		}
	})
}

func TestQuantilesAgainstHdrHistogram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		peer := hdrhistogram.New(1, valueMax, 3)
		values := durations(t)
		for i, v := range values {
			values[i] = v + 1
			if err := peer.RecordValue(v + 1); err != nil {
				t.Fatal(err)
			}
		}
		d := record(values...)
		for _, q := range []float64{50, 90, 99, 100} {
			// HdrHistogram rounds the rank to the nearest, Quantile up: ask both for the same one.
			rank := max(math.Floor(q/100*float64(len(values))+0.5), 1)
			want := peer.ValueAtQuantile(q)
			if got := d.Quantile((rank - 0.5) / float64(len(values))); math.Abs(float64(got-want)) > float64(want)/1000 {
				t.Fatalf("quantile %v is %d, HdrHistogram says %d", q, got, want)
			}
		}
	})
}

func TestHistogramEdges(t *testing.T) {
	var empty Distribution
	if empty.Quantile(0.5) != 0 || empty.CountUpTo(1) != 0 {
		t.Error("an empty distribution is not empty")
	}
	const day = int64(24 * time.Hour)
	d := record(-5, 0, day)
	if d.Count != 3 || d.Sum != uint64(day) || d.Max != day {
		t.Errorf("count %d sum %d max %d", d.Count, d.Sum, d.Max)
	}
	if got := d.Quantile(0.5); got != 0 {
		t.Errorf("median %d, want 0", got)
	}
	if got := d.Quantile(1); got != day {
		t.Errorf("longest %d, want %d", got, day)
	}
	if d.CountUpTo(-1) != 0 || d.CountUpTo(0) != 2 || d.CountUpTo(day) != 3 {
		t.Errorf("up to -1: %d, 0: %d, a day: %d", d.CountUpTo(-1), d.CountUpTo(0), d.CountUpTo(day))
	}
}

func TestHistogramShowsOnlyWhatIsPublished(t *testing.T) {
	h := new(Histogram)
	count := func() uint64 {
		d := new(Distribution)
		d.Add(h)
		return d.Count
	}
	h.Record(5)
	if got := count(); got != 0 {
		t.Errorf("%d before publishing", got)
	}
	h.Publish()
	h.Publish()
	if got := count(); got != 1 {
		t.Errorf("%d after publishing one", got)
	}
	// More different durations than the list of changed buckets holds.
	for i := range int64(3*changedMax + 1) {
		h.Record(i)
	}
	h.Publish()
	if got := count(); got != 3*changedMax+2 {
		t.Errorf("%d after publishing many, want %d", got, 3*changedMax+2)
	}
}

func BenchmarkHistogram(b *testing.B) {
	h := new(Histogram)
	b.Run("record one and publish", func(b *testing.B) {
		for i := int64(0); b.Loop(); i += 97 {
			h.Record(12_000 + i&4095)
			h.Publish()
		}
	})
	b.Run("record of a batch of 64", func(b *testing.B) {
		for i := int64(0); b.Loop(); i++ {
			h.Record(200_000 + (i>>4)&7*1000)
			if i&63 == 63 {
				h.Publish()
			}
		}
	})
	b.Run("add", func(b *testing.B) {
		d := new(Distribution)
		for b.Loop() {
			d.Add(h)
		}
	})
}

func TestDistributionText(t *testing.T) {
	const want = "latency_count 4\nlatency_mean_us 2.500\nlatency_p50_us 1.000\nlatency_p90_us 7.000\n" +
		"latency_p99_us 7.000\nlatency_p999_us 7.000\nlatency_max_us 7.000\n"
	if got := string(record(1000, 1000, 1000, 7000).AppendText(nil)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := string(new(Distribution).AppendText(nil)); got[:len("latency_count 0\nlatency_mean_us 0.000\n")] != "latency_count 0\nlatency_mean_us 0.000\n" {
		t.Errorf("an empty one is\n%s", got)
	}
}
