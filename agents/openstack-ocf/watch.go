package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// view is what there is to be seen of the cluster; less is the same without what is well. That time goes by is nothing new.
type view struct{ all, less string }

// watch shows the report until it is interrupted, and anew whenever it says something else.
func (s *statusCall) watch(out *os.File) error {
	ctx, stop := signal.NotifyContext(s.c.Context, os.Interrupt, unix.SIGTERM)
	defer stop()
	terminal := make(chan os.Signal, 1)
	var now view
	show := func() error {
		_, err := fmt.Fprintf(out, "%s\n%s", time.Now().Format(time.DateTime), now.all)
		return err
	}
	if drawable(out) {
		signal.Notify(terminal, unix.SIGWINCH, unix.SIGTSTP)
		defer signal.Stop(terminal)
		fmt.Fprint(out, takeScreen)
		defer fmt.Fprint(out, giveScreen)
		changed := time.Now()
		last := now
		show = func() error {
			if now != last {
				last, changed = now, time.Now()
			}
			_, err := fmt.Fprint(out, clearScreen+fit(out, "changed "+changed.Format(time.TimeOnly)+"; Ctrl-C ends\n", now))
			return err
		}
	}
	views := make(chan view)
	go s.look(ctx, views)
	for {
		select {
		case v := <-views:
			if v == now {
				continue
			}
			now = v
		case what := <-terminal:
			if what == unix.SIGTSTP {
				fmt.Fprint(out, giveScreen)
				goesOn := make(chan os.Signal, 1) // this thread may run for a moment after the kill
				signal.Notify(goesOn, unix.SIGCONT)
				_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
				<-goesOn
				signal.Stop(goesOn)
				fmt.Fprint(out, takeScreen)
			}
		case <-ctx.Done():
			return nil
		}
		if err := show(); err != nil {
			return err
		}
	}
}

// What a terminal understands (ECMA-48, and xterm's alternate screen, which leaves the shell's lines as they were).
const (
	takeScreen  = "\x1b[?1049h\x1b[?25l"
	giveScreen  = "\x1b[?25h\x1b[?1049l"
	clearScreen = "\x1b[H\x1b[2J"
)

// look asks again and again. While the cluster does not answer, what was so before stands below why.
func (s *statusCall) look(ctx context.Context, views chan<- view) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	var before view
	for {
		r, err := s.read(ctx)
		v := before
		if err == nil {
			at := r.At
			r.At = time.Time{} // since when, and not how long
			v = view{text(r.WriteText, s.colour), text(r.Troubled().WriteText, s.colour)}
			head := "\nso it was at " + at.Local().Format(time.TimeOnly) + ":\n"
			before = view{head + v.all, head + v.less}
		} else {
			v.all, v.less = err.Error()+"\n"+v.all, err.Error()+"\n"+v.less
		}
		select {
		case views <- v:
		case <-ctx.Done():
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// fit is what of a view the terminal has room for, below the first line.
func fit(out *os.File, first string, v view) string {
	size, err := unix.IoctlGetWinsize(int(out.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row == 0 || size.Col == 0 {
		return first + v.all
	}
	text := strings.TrimSuffix(first+v.all, "\n")
	if rows(text, int(size.Col)) <= int(size.Row) {
		return text
	}
	lines := strings.Split(strings.TrimSuffix(first+v.less, "\n"), "\n")
	for n := len(lines); n > 0; n-- {
		text = strings.Join(lines[:n], "\n")
		if n < len(lines) {
			text += fmt.Sprintf("\n... %d lines more", len(lines)-n)
		}
		if rows(text, int(size.Col)) <= int(size.Row) {
			break
		}
	}
	return text
}

// rows is how many rows of a terminal a text takes.
func rows(text string, columns int) (n int) {
	for line := range strings.SplitSeq(regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(text, ""), "\n") {
		n += max(1, (utf8.RuneCountInString(line)+columns-1)/columns)
	}
	return n
}

// drawable tells whether a file is a terminal that more can be done on than writing line by line.
func drawable(f *os.File) bool {
	term := os.Getenv("TERM")
	return isTerminal(f) && term != "" && term != "dumb"
}
