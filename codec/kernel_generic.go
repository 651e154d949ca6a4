//go:build !amd64 || noasm

package codec

const leastVector = 0

// available lists the implementations that can run here, fastest first.
func available() []kernelID { return []kernelID{portable} }

// scanBlocks is not called while the portable scanner is the only one.
func (s *Scanner) scanBlocks(b []byte, at int, p *pass) (int, Want) { return s.scanLines(b, at, p) }
