package proxy

// Excerpts of the messages' Data for the log, only where it was asked for (Config.LogData). That of a request waits for its
// answer in the connection's tracker, beside the request, so it is bounded as the requests are.

const (
	// logDataMax is the most that may be asked for: an excerpt's length is kept in a byte.
	logDataMax = 255
	// excerptHead is how much of a line may lie before its Data and still leave an excerpt whole.
	excerptHead = 64
)

// excerpts are of a loop's tracker pool.
type excerpts struct {
	size   int       // the most bytes of each, 0 = none are kept
	latest [2][]byte // of the request and the answer at hand, valid until the next line
}

// excerpt takes the end of a line of side d that began in what is kept of it, or in line itself.
func (k *tracker) excerpt(d side, line []byte) {
	begun := k.begun[d]
	if len(begun) > 0 {
		line = k.begin(d, line)
		k.begun[d] = begun[:0]
	}
	k.pool.latest[d] = lineData(line, k.pool.size)
}

// begin keeps part of a line of side d that does not hold its end, as far as it can matter, and returns all that is kept.
func (k *tracker) begin(d side, part []byte) []byte {
	most := excerptHead + k.pool.size - len(k.begun[d])
	k.begun[d] = append(k.begun[d], part[:min(len(part), most)]...)
	return k.begun[d]
}

// keep keeps the latest request's excerpt with it.
func (k *tracker) keep() {
	t, stride := k.table, k.pool.size+1
	if t.data == nil {
		t.data = make([]byte, len(t.entries)*stride)
	}
	at := t.data[int(t.entries[0].prev)*stride:][:stride]
	at[0] = byte(copy(at[1:], k.pool.latest[client]))
}

// recall makes the excerpt kept with entry i the latest one of a request.
func (k *tracker) recall(t *trackTable, i uint32) {
	at := t.data[int(i)*(k.pool.size+1):]
	k.pool.latest[client] = at[1:][:at[0]]
}

// lineData returns the beginning of a valid message's Data: what follows the white space after Seq, without the LF.
func lineData(line []byte, most int) []byte {
	i := 3
	blanks := func() {
		for i < len(line) && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r') {
			i++
		}
	}
	blanks()
	for i < len(line) && (line[i] == '-' || line[i] >= '0' && line[i] <= '9') {
		i++
	}
	blanks()
	line = line[min(i, len(line)):]
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	return line[:min(len(line), most)]
}
