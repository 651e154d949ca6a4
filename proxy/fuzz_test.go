package proxy

import (
	"bytes"
	"testing"
)

// FuzzProxy plays two streams, cut and mixed by script, through real loops on either engine. how picks the configuration, who
// ends first and how.
func FuzzProxy(f *testing.F) {
	var hosts [][]*boxHost // by configuration, by engine
	for _, world := range boxWorlds {
		var both []*boxHost
		for _, engine := range engines {
			h := newBoxHost(engine, world)
			both = append(both, h)
			f.Cleanup(h.close)
		}
		hosts = append(hosts, both)
	}
	for how := range uint8(16 * len(boxWorlds)) {
		f.Add([]byte("REQ 1\nREQ 2 text\n"), []byte("ACK 1\nNAK 2 text\n"), []byte{0x4e, 0xc3, 0x55, 0x86}, how)
		bad := badLines[int(how)%len(badLines)].text
		f.Add([]byte("REQ 1\n"+bad+"REQ 3\n"), []byte("ACK 1\n"), []byte{0xc8, 0x49}, how)
		f.Add([]byte(bad), []byte("ACK 1\nREQ 2\nNAK 1\n"), []byte{0x02, 0xc5, 0xc5, 0xc4}, how)
		f.Add([]byte("REQ 1\nREQ 2 unfinished"), bytes.Repeat([]byte("NAK 7 \xe2\x82\xac\n"), 40), bytes.Repeat([]byte{0xcb}, 20), how)
	}
	f.Fuzz(func(t *testing.T, requests, answers, script []byte, how uint8) {
		const most = 64 << 10
		b := &blackbox{
			say:    [2][]byte{requests[:min(len(requests), most)], answers[:min(len(answers), most)]},
			script: script[:min(len(script), 256)],
			first:  side(how & 1), reset: [2]bool{how&2 != 0, how&4 != 0}, settled: how&8 != 0,
		}
		if second := b.first ^ 1; !b.reset[b.first] && how>>4 != 15 {
			b.reset[second] = false // a reset after FIN takes a loop on io_uring 100 ms to see
		}
		for i, h := range hosts[int(how>>4)%len(hosts)] {
			if wrong := h.play(b); wrong != "" {
				t.Fatalf("%s: %s", engines[i], wrong)
			}
		}
	})
}
