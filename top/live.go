package top

import (
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"

	"fooproxy/admin"
)

// model is the screen: what was last answered, and how large it is.
type model struct {
	source        *Source
	every         time.Duration
	stats         *admin.Stats
	answered      time.Time
	err           error // of the last attempt
	width, height int
}

// answer is the outcome of one attempt.
type answer struct {
	stats *admin.Stats
	err   error
	at    time.Time
}

// Live shows the source's figures until q is pressed. The first answer must come, later ones may fail: the screen then says
// since when, and goes on asking.
func Live(source *Source, every time.Duration, options ...tea.ProgramOption) error {
	first, err := source.Stats()
	if err != nil {
		return err
	}
	m := model{source: source, every: every, stats: first, answered: time.Now(), width: 80, height: 24}
	_, err = tea.NewProgram(m, options...).Run()
	return err
}

func (m model) Init() tea.Cmd { return m.wait() }

func (m model) wait() tea.Cmd {
	return tea.Tick(m.every, func(time.Time) tea.Msg {
		stats, err := m.source.Stats()
		return answer{stats, err, time.Now()}
	})
}

func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "ctrl+c", "esc":
			return m, tea.Quit
		}
	case answer:
		if m.err = msg.err; m.err == nil {
			m.stats, m.answered = msg.stats, msg.at
		}
		return m, m.wait()
	}
	return m, nil
}

func (m model) View() tea.View {
	note := faint.Render("q quits")
	if m.err != nil {
		since := time.Since(m.answered).Truncate(time.Second)
		note = alarm.Render(fmt.Sprintf("no answer for %v: %v", since, m.err))
	}
	v := tea.NewView(Render(m.stats, note, m.width, m.height))
	v.AltScreen = true
	v.WindowTitle = "fooproxy top"
	return v
}
