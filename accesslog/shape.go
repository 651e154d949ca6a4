package accesslog

// shape is what stands between the values of a line. Both formats have the same fields in the same order, so one set of
// functions (format.go) writes both.
type shape struct {
	begin, end string

	req, res, conn, bad string // the kind of line, from the end of the time to the connection's number
	client, quote       string // quote ends a field that begins with one
	seq, seqBig         string
	length              string
	none, ack, nak      string // a request's result, up to the answer's size
	latency             string
	answerAck           string // a lone answer's result
	answerNak           string
	answerSize          string

	server, class, duration         string
	reqs, acks, naks, open, in, out string
	why                             string

	dir, line, offset, want, got string
	gotJSON                      bool

	data, rdata           string
	note, sample, dropped string
}

var textShape = shape{
	end: "\n",

	req: " REQ conn=", res: " RES conn=", conn: " CONN conn=", bad: " BAD conn=",
	client: " client=",
	seq:    " seq=", seqBig: " seq=big",
	length: " len=",
	none:   " res=- rlen=- lat_us=-", ack: " res=ACK rlen=", nak: " res=NAK rlen=",
	latency:   " lat_us=",
	answerAck: " res=ACK", answerNak: " res=NAK", answerSize: " rlen=",

	server: " server=", class: " class=", duration: " dur_ms=",
	reqs: " req=", acks: " ack=", naks: " nak=", open: " open=", in: " in=", out: " out=", why: " end=",

	dir: " dir=", line: " line=", offset: " off=", want: " want=", got: " got=",

	data: " data=", rdata: " rdata=",
	note: " LOG", sample: " sample=", dropped: " dropped=",
}

var jsonShape = shape{
	begin: `{"time":"`, end: "}\n",

	req: `","kind":"REQ","conn":`, res: `","kind":"RES","conn":`,
	conn: `","kind":"CONN","conn":`, bad: `","kind":"BAD","conn":`,
	client: `,"client":"`, quote: `"`,
	seq: `,"seq":`, seqBig: `,"seq":"big"`,
	length: `,"len":`,
	none:   `,"res":null,"rlen":null,"lat_us":null`, ack: `,"res":"ACK","rlen":`, nak: `,"res":"NAK","rlen":`,
	latency:   `,"lat_us":`,
	answerAck: `,"res":"ACK"`, answerNak: `,"res":"NAK"`, answerSize: `,"rlen":`,

	server: `,"server":"`, class: `,"class":"`, duration: `,"dur_ms":`,
	reqs: `,"req":`, acks: `,"ack":`, naks: `,"nak":`, open: `,"open":`, in: `,"in":`, out: `,"out":`, why: `,"end":"`,

	dir: `,"dir":"`, line: `,"line":`, offset: `,"off":`, want: `,"want":"`, got: `,"got":`, gotJSON: true,

	data: `,"data":`, rdata: `,"rdata":`,
	note: `","kind":"LOG"`, sample: `,"sample":`, dropped: `,"dropped":`,
}
