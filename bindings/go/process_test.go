package micro_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/server"
)

// Set in a process that is a service, to the folder of its registry.
const asService = "MICRO_TEST_SERVICE"

// serveAlone is what a process of a test does: it serves until it is told to end.
func serveAlone(folder string) {
	service := micro.NewService(micro.Name("alone"), micro.Registry("local://"+folder), micro.Address("127.0.0.1:0"), micro.Environment(false),
		micro.Server(server.Quiet(true)), micro.AfterStop(func() error { println("stopped"); return nil }))
	err := micro.Handle(service, "Test.Do", func(ctx context.Context, wait bool) (string, error) {
		if wait {
			println("waits")
			<-ctx.Done()
			println("cancelled")
		}
		return "done", ctx.Err()
	})
	if err == nil {
		err = service.Run()
	}
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// alone is that process, and a client of it.
func alone(t *testing.T) (*exec.Cmd, *lines, client.Client) {
	t.Helper()
	folder := t.TempDir()
	caller := micro.NewClient(client.Registry("local://"+folder), client.Environment(false))
	t.Cleanup(func() { _ = caller.Close() })
	watch, err := caller.Watch(t.Context(), client.WatchService("alone"))
	must(t, err)
	defer watch.Stop()
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), asService+"="+folder)
	said := &lines{more: make(chan struct{}, 64)}
	process.Stderr = said
	must(t, process.Start())
	t.Cleanup(func() { _ = process.Process.Kill() })
	_, err = watch.Next()
	must(t, err)
	return process, said, caller
}

// lines is what a process has said.
type lines struct {
	lock sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (l *lines) Write(data []byte) (int, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(data)
}

func (l *lines) have(text string) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	return strings.Contains(l.text.String(), text)
}

// until waits for a line.
func (l *lines) until(t *testing.T, text string) {
	t.Helper()
	for !l.have(text) {
		select {
		case <-l.more:
		case <-t.Context().Done():
			t.Fatalf("it did not say %s", text)
		}
	}
}

func TestSIGTERMStopsAServiceInOrder(t *testing.T) {
	process, said, caller := alone(t)
	reply, err := micro.Call[string](t.Context(), caller, "alone", "Test.Do", false)
	must(t, err)
	same(t, reply, "done")
	must(t, process.Process.Signal(syscall.SIGTERM))
	must(t, process.Wait())
	same(t, said.have("stopped"), true)
}

func TestASecondSignalCutsOffWhatRuns(t *testing.T) {
	process, said, caller := alone(t)
	ended := make(chan error)
	go func() {
		_, err := micro.Call[string](context.Background(), caller, "alone", "Test.Do", true, client.WithRetries(0), client.WithoutDeadline())
		ended <- err
	}()
	said.until(t, "waits")
	must(t, process.Process.Signal(syscall.SIGTERM))
	// It is told once it has left the registry: from then on a signal is the second one.
	eventually(t, func() bool {
		_, err := caller.Lookup(t.Context(), "alone")
		return err != nil
	})
	must(t, process.Process.Signal(syscall.SIGTERM))
	if err := <-ended; err == nil {
		t.Error("the call ended well")
	}
	must(t, process.Wait())
}

func TestProgramsRunBesideAService(t *testing.T) {
	service, caller := serve(t, func(_ context.Context, text string) (string, error) {
		said, err := exec.Command("printf", "%s", text).Output()
		return string(said), err
	})
	// A child has none of the sockets: it would keep the port when the service is gone.
	listed, err := exec.Command("sh", "-c", "ls -l /proc/$$/fd | grep -c -e socket: -e eventpoll -e eventfd || true").Output()
	must(t, err)
	same(t, strings.TrimSpace(string(listed)), "0")
	var work sync.WaitGroup
	for range 8 {
		work.Add(1)
		go func() {
			defer work.Done()
			for range 10 {
				reply, err := micro.Call[string](context.Background(), caller, "test", "Test.Do", "said")
				if err != nil || reply != "said" {
					t.Errorf("%q %v", reply, err)
				}
			}
		}()
	}
	work.Wait()
	must(t, service.Stop())
}
