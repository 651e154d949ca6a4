package admin

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// browse loads the page in headless Chromium, lets it live for some seconds of its own time, and returns the document it has
// become.
func browse(t *testing.T, url string, flags ...string) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is not installed, and the page is tested in it: apt install chromium")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--user-data-dir=" + t.TempDir(), "--enable-logging=stderr",
		"--virtual-time-budget=3500", "--dump-dom",
	}, append(flags, url)...)...)
	var dom, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &dom, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, errs.String())
	}
	if console := regexp.MustCompile(`(?m)^.*CONSOLE.*$`).FindAllString(errs.String(), -1); console != nil {
		t.Errorf("the page complains:\n%s", strings.Join(console, "\n"))
	}
	return dom.String()
}

// tags is what of a document is no text.
var tags = regexp.MustCompile(`(?s)<script>.*?</script>|<style>.*?</style>|<[^>]*>`)

// The page shows the figures of the proxy, and what peers sent as text and as nothing else.
func TestPageInChromium(t *testing.T) {
	x := serve(t, "127.0.0.1:0")
	x.fake.alive.Store(true)
	dom := browse(t, x.server.URL(), "--window-size=390,900")
	snap := x.fake.set.Snapshot(0)
	text := strings.Join(strings.Fields(tags.ReplaceAllString(dom, " ")), " ")
	for _, want := range []string{
		"serving", "epoll", "io_uring is not used", "127.0.0.1:1 → 127.0.0.1:2",
		fmt.Sprintf("REQ %d", snap.Local[0]), "1 200", "client-fin", "192.0.2.1:4711", "seq",
		`\x1b[2J&lt;script&gt;document.title='owned'&lt;/script&gt;`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q on the page:\n%s", want, text)
		}
	}
	if strings.Contains(dom, "<title>owned") || strings.Contains(text, "no answer for") {
		t.Errorf("the page is broken, or ran what a peer sent:\n%s", text)
	}
	if shapes := regexp.MustCompile(`<path d="M[\d.,]+L`).FindAllString(dom, -1); len(shapes) < 4 {
		t.Errorf("%d lines are drawn, want those of rates and latency", len(shapes))
	}
	if bars := strings.Count(dom, "<rect "); bars < 20 {
		t.Errorf("%d bars of the distribution are drawn", bars)
	}
}

// The page needs nothing from elsewhere.
func TestPageIsSelfContained(t *testing.T) {
	for _, address := range regexp.MustCompile(`(?:https?:)?//[\w.]+[^\s'"]*`).FindAllString(page, -1) {
		if address != "http://www.w3.org/2000/svg" {
			t.Errorf("the page names %s", address)
		}
	}
	if n := strings.Count(page, "innerHTML") + strings.Count(page, "insertAdjacentHTML") + strings.Count(page, "eval("); n != 0 {
		t.Errorf("%d ways for text to become something else", n)
	}
}
