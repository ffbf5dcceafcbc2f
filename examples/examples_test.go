// Package examples runs every example as a user does.
package examples

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
)

const patience = 60 * time.Second

// scenario is a service that runs, in a registry of the test's own.
type scenario struct {
	t           *testing.T
	example     string
	environment []string
	service     *exec.Cmd
}

func program(t *testing.T, example, name string) string {
	t.Helper()
	made := filepath.Join(t.TempDir(), name)
	built, err := exec.Command("go", "build", "-o", made, filepath.Join(example, name+".go")).CombinedOutput()
	if err != nil {
		t.Fatalf("%s/%s.go: %s\n%s", example, name, err, built)
	}
	return made
}

// start starts the service of an example, and waits until it is registered.
func start(t *testing.T, example, name string) *scenario {
	t.Helper()
	registry := "local://" + t.TempDir()
	made := &scenario{t: t, example: example}
	made.environment = append(os.Environ(), "MICRO_REGISTRY="+registry, "MICRO_SERVER_ADDRESS=127.0.0.1:0")
	caller := micro.NewClient(client.Registry(registry), client.Environment(false))
	defer caller.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watch, err := caller.Watch(ctx, client.WatchService(name))
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	made.service = exec.Command(program(t, example, "service"))
	made.service.Env, made.service.Stderr = made.environment, os.Stderr
	if err := made.service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.service.Process.Kill() })
	if _, err := watch.Next(); err != nil {
		t.Fatalf("%s was not registered: %s", name, err)
	}
	return made
}

// run runs the client to its end, and returns what it printed.
func (s *scenario) run() string {
	s.t.Helper()
	caller := exec.Command(program(s.t, s.example, "client"))
	caller.Env, caller.Stderr = s.environment, os.Stderr
	printed, err := caller.Output()
	if err != nil {
		s.t.Fatalf("the client of %s: %s\n%s", s.example, err, printed)
	}
	return string(printed)
}

// stop asks the service to stop, which it does well.
func (s *scenario) stop() {
	s.t.Helper()
	if err := s.service.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.service.Wait(); err != nil {
		s.t.Errorf("the service of %s: %s", s.example, err)
	}
}

func TestTheGreeterGreets(t *testing.T) {
	scenario := start(t, "greeter", "greeter")
	if said := scenario.run(); !regexp.MustCompile(`^Hello, Ada! I am process \d+\.\n$`).MatchString(said) {
		t.Errorf("it said %q", said)
	}
	scenario.stop()
}

func TestStreamsGoEveryWay(t *testing.T) {
	scenario := start(t, "streaming", "numbers")
	wanted := "counted 1\ncounted 2\ncounted 3\nthe sum is 6\ntwice 1 is 2\ntwice 2 is 4\ntwice 4 is 8\ntwice 8 is 16\n"
	if said := scenario.run(); said != wanted {
		t.Errorf("it said %q", said)
	}
	scenario.stop()
}

func TestErrorsSayWhatHappened(t *testing.T) {
	scenario := start(t, "errors", "accounts")
	lines := strings.Split(scenario.run(), "\n")
	wanted := []string{
		`^ada has 1815$`,
		`^NOT_FOUND accounts: bob has no account \(1 attempts; look for something else\)$`,
		`^DEADLINE_EXCEEDED .*\(1 attempts; give it more time\)$`,
		`^UNAVAILABLE go.micro.client: service payments: not found: .* \(0 attempts; start it, or WithWaitForReady\)$`,
	}
	for number, pattern := range wanted {
		if number >= len(lines) || !regexp.MustCompile(pattern).MatchString(lines[number]) {
			t.Errorf("line %d should be %s:\n%s", number+1, pattern, strings.Join(lines, "\n"))
		}
	}
	scenario.stop()
}
