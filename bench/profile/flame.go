package profile

import (
	"bufio"
	"cmp"
	"fmt"
	"html"
	"io"
	"slices"

	"github.com/google/pprof/profile"
)

// node is a function in the tree of all stacks.
type node struct {
	name     string
	value    int64
	children map[string]*node
}

func (n *node) child(name string) *node {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	c := n.children[name]
	if c == nil {
		c = &node{name: name}
		n.children[name] = c
	}
	return c
}

// tree merges all stacks, outermost function first.
func tree(p *profile.Profile) *node {
	root := &node{name: "all"}
	value := len(p.SampleType) - 1
	for _, s := range p.Sample {
		v := s.Value[value]
		root.value += v
		at := root
		stack := frames(s)
		for i := range stack {
			at = at.child(stack[len(stack)-1-i].name)
			at.value += v
		}
	}
	return root
}

const (
	flameWidth = 1200.0
	flameRow   = 17.0
	flameTop   = 26.0
	flameLeast = 0.0005 // share of the width below which a box is not drawn
)

// WriteFlame draws a flame graph (Gregg, 2016): each box is a function, as wide as its share of the samples, standing on the
// function that called it. Boxes have the colour of their class.
func WriteFlame(w io.Writer, p *profile.Profile, title string) error {
	root := tree(p)
	out := bufio.NewWriter(w)
	height := flameTop + flameRow*float64(depth(root, root.value)+1)
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" font-family="sans-serif" font-size="11">`+"\n",
		flameWidth, height)
	fmt.Fprintf(out, `<rect width="100%%" height="100%%" fill="#fff"/><text x="6" y="17" font-size="13">%s</text>`+"\n", html.EscapeString(title))
	flameNode(out, root, root.value, 0, height-flameRow, Other)
	fmt.Fprintln(out, "</svg>")
	return out.Flush()
}

// depth is how many rows are drawn above n.
func depth(n *node, total int64) int {
	most := 0
	for _, c := range n.children {
		if float64(c.value) >= flameLeast*float64(total) {
			most = max(most, 1+depth(c, total))
		}
	}
	return most
}

var flameColors = map[Class]string{
	Kernel: "#e8a33d", Scanning: "#56b4e9", Statistics: "#009e73", Logging: "#cc79a7", Loop: "#8fb7d8", Runtime: "#d55e00", Other: "#ccc",
}

// flameNode draws n with its left edge at x; a function that decides no class has that of its caller.
func flameNode(out io.Writer, n *node, total int64, x, y float64, class Class) {
	if total == 0 {
		return
	}
	if isSystemCall(n.name) {
		class = Kernel
	} else if own, decided := classOf(frame{name: n.name}); decided {
		class = own
	}
	width := flameWidth * float64(n.value) / float64(total)
	share := 100 * float64(n.value) / float64(total)
	name := html.EscapeString(n.name)
	fmt.Fprintf(out, `<g><title>%s: %.2f %%</title><rect x="%.2f" y="%.1f" width="%.2f" height="%.1f" fill="%s" stroke="#fff" stroke-width=".5"/>`,
		name, share, x, y, width, flameRow, flameColors[class])
	if fits := int(width / 6.2); fits > 4 {
		label := []rune(shortName(n.name))
		fmt.Fprintf(out, `<text x="%.1f" y="%.1f">%s</text>`, x+3, y+12.5, html.EscapeString(string(label[:min(len(label), fits)])))
	}
	fmt.Fprintln(out, "</g>")
	children := make([]*node, 0, len(n.children))
	for _, c := range n.children {
		children = append(children, c)
	}
	slices.SortFunc(children, func(a, b *node) int { return cmp.Compare(a.name, b.name) })
	for _, c := range children {
		if float64(c.value) >= flameLeast*float64(total) {
			flameNode(out, c, total, x, y-flameRow, class)
		}
		x += flameWidth * float64(c.value) / float64(total)
	}
}
