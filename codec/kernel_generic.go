//go:build !amd64 || noasm

package codec

// available lists the implementations that can run here, fastest first.
func available() []kernelID { return []kernelID{portable} }

// scan checks b from offset at on and returns the offset where it stopped:
// len(b), or that of the first byte that cannot be Foo with what was wanted
// there.
func (s *Scanner) scan(b []byte, at int, p *pass) (int, Want) { return s.scanLines(b, at, p) }
