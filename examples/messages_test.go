package examples

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestOrdersThatWerePublishedMeanwhileAreBilledAndOneThatFailsIsLookedAt(t *testing.T) {
	made, folder := program(t, "messages", "messages"), t.TempDir()
	start := func(arguments ...string) *exec.Cmd {
		command := exec.Command(made, arguments...)
		command.Env = append(os.Environ(), "MICRO_REGISTRY=local://"+t.TempDir(), "MICRO_SERVER_ADDRESS=127.0.0.1:0",
			"MICRO_BROKER=durable://"+folder)
		command.Stderr = os.Stderr
		return command
	}
	publish := func(order int) {
		t.Helper()
		if err := start(strconv.Itoa(order)).Run(); err != nil {
			t.Fatalf("order %d was not published: %s", order, err)
		}
	}
	// serve gives the lines that a service or an audit prints, and what ends it.
	serve := func(arguments ...string) (chan string, func()) {
		t.Helper()
		service := start(arguments...)
		printed, err := service.StdoutPipe()
		if err == nil {
			err = service.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := make(chan string, 1024)
		go func() {
			for scanner := bufio.NewScanner(printed); scanner.Scan(); {
				lines <- scanner.Text()
			}
		}()
		kill := func() {
			_ = service.Process.Kill()
			_ = service.Wait()
		}
		t.Cleanup(kill)
		return lines, kill
	}
	next := func(lines chan string) string {
		t.Helper()
		select {
		case line := <-lines:
			return line
		case <-time.After(patience):
			t.Fatal("nothing was printed in time")
			return ""
		}
	}
	lines, kill := serve()
	// It subscribes once it is registered; messages of before are not for a queue that is new.
	for order, subscribed := 100, false; !subscribed; order++ {
		publish(order)
		select {
		case <-lines:
			subscribed = true
		case <-time.After(200 * time.Millisecond):
		}
	}
	kill()
	publish(7)
	publish(13)
	lines, kill = serve()
	var printed []string
	for len(printed) < 2 {
		if line := next(lines); !strings.HasPrefix(line, "order 1") || strings.HasPrefix(line, "order 13 ") {
			printed = append(printed, line)
		}
	}
	kill()
	slices.Sort(printed)
	wanted := []string{"order 13 was given up: FAILED_PRECONDITION: the card was refused [billing]", "order 7, attempt 1"}
	if !slices.Equal(printed, wanted) {
		t.Errorf("it printed %q", printed)
	}
	seen, _ := serve("audit")
	for line := ""; line != "seen 13"; {
		line = next(seen)
	}
}
