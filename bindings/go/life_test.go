package micro_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/microtest"
	"github.com/micro/micro/bindings/go/registry"
)

func TestClosingAClientEndsWhatIsUnderWay(t *testing.T) {
	running := make(chan struct{}, 64)
	fleet := microtest.New(t)
	service := fleet.Service("test")
	must(t, micro.Handle(service, "Test.Do", func(ctx context.Context, _ string) (string, error) {
		running <- struct{}{}
		<-ctx.Done()
		return "", ctx.Err()
	}))
	fleet.Start(service)
	caller := fleet.Client()
	var work sync.WaitGroup
	for range 32 {
		work.Add(1)
		go func() {
			defer work.Done()
			_, err := micro.Call[string](context.Background(), caller, "test", "Test.Do", "")
			if !errors.Is(err, errors.CodeCanceled) {
				t.Errorf("it ended with %v", err)
			}
		}()
	}
	for range 32 {
		<-running
	}
	must(t, caller.Close())
	must(t, caller.Close())
	work.Wait()
	_, err := micro.Call[string](t.Context(), caller, "test", "Test.Do", "")
	same(t, errors.Is(err, errors.ErrClosed), true)
}

func TestClosingAServiceFinishesItsCallsFirst(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	service, caller := serve(t, func(context.Context, string) (string, error) {
		close(running)
		<-release
		return "finished", nil
	})
	replied := make(chan string)
	go func() {
		reply, err := micro.Call[string](context.Background(), caller, "test", "Test.Do", "")
		if err != nil {
			reply = err.Error()
		}
		replied <- reply
	}()
	<-running
	closed := make(chan error)
	go func() { closed <- service.Close() }()
	close(release)
	same(t, <-replied, "finished")
	must(t, <-closed)
	same(t, service.Address(), "")
}

func TestCallsAndClosesAtOnceHarmNothing(t *testing.T) {
	fleet := microtest.New(t)
	service := fleet.Service("test")
	must(t, micro.Handle(service, "Test.Do", func(_ context.Context, in string) (string, error) { return in, nil }))
	fleet.Start(service)
	for range 50 {
		caller := fleet.Client()
		var work sync.WaitGroup
		for range 8 {
			work.Add(1)
			go func() {
				defer work.Done()
				for range 5 {
					_, err := micro.Call[string](context.Background(), caller, "test", "Test.Do", "x")
					if err != nil && !errors.Is(err, errors.CodeCanceled) {
						t.Errorf("it ended with %v", err)
					}
				}
			}()
		}
		must(t, caller.Close())
		work.Wait()
	}
}

func TestCancellingAtEveryStageLeavesNothing(t *testing.T) {
	fleet := microtest.New(t)
	service := fleet.Service("test")
	must(t, micro.Handle(service, "Test.Do", func(_ context.Context, in []byte) ([]byte, error) { return in, nil }))
	fleet.Start(service)
	caller := fleet.Client()
	var ended, wrong atomic.Int64
	var work sync.WaitGroup
	for number := range 2000 {
		ctx, cancel := context.WithCancel(context.Background())
		work.Add(2)
		started := make(chan struct{})
		go func() {
			defer work.Done()
			<-started
			for range number % 200 {
				spin.Add(1)
			}
			cancel()
		}()
		go func() {
			defer work.Done()
			close(started)
			_, err := micro.Call[[]byte](ctx, caller, "test", "Test.Do", []byte("x"))
			if err != nil && !errors.Is(err, context.Canceled) {
				wrong.Add(1)
			}
			ended.Add(1)
		}()
		if number%64 == 0 {
			work.Wait()
		}
	}
	work.Wait()
	same(t, ended.Load(), 2000)
	same(t, wrong.Load(), 0)
	eventually(t, func() bool { return native.Waiting() == 1 })
}

var spin atomic.Int64

func TestTokensAndGoroutinesAreGivenBack(t *testing.T) {
	calls := 1_000_000
	if testing.Short() {
		calls = 20_000
	}
	_, caller := serve(t, func(_ context.Context, in []byte) ([]byte, error) { return in, nil })
	var left atomic.Int64
	left.Store(int64(calls))
	var work sync.WaitGroup
	for range 64 {
		work.Add(1)
		go func() {
			defer work.Done()
			for left.Add(-1) >= 0 {
				if _, err := micro.Call[[]byte](context.Background(), caller, "test", "Test.Do", []byte("x")); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	work.Wait()
	// The service is what still waits to be told, and an operation too. A reply may come before its server, or the one that
	// told it, has let the call go.
	eventually(t, func() bool { return native.Waiting() == 1 && native.Live(5) == 1 && native.Live(6) == 0 })
}

func TestARegistryInGoIsOpenedByItsURL(t *testing.T) {
	provided, err := micro.Provide("mine", microtest.NewRegistry())
	must(t, err)
	defer provided.Close()
	_, err = micro.Provide("mine", microtest.NewRegistry())
	same(t, errors.CodeFor(err), errors.CodeAlreadyExists)
	service := micro.NewService(micro.Name("test"), micro.Registry(provided.URL()), micro.Address("127.0.0.1:0"), micro.Environment(false))
	defer service.Close()
	must(t, micro.Handle(service, "Test.Do", hello))
	caller := micro.NewClient(client.Registry(provided.URL()), client.Environment(false))
	defer caller.Close()
	watch, err := caller.Watch(t.Context(), client.WatchService("test"))
	must(t, err)
	must(t, service.Start())
	change, err := watch.Next()
	must(t, err)
	same(t, change.Action, "create")
	reply, err := micro.Call[greeting](t.Context(), caller, "test", "Test.Do", person{"Ada"})
	must(t, err)
	same(t, reply.Text, "Hello, Ada!")
	watch.Stop()
	_, err = watch.Next()
	same(t, errors.CodeFor(err), errors.CodeCanceled)
	must(t, caller.Register(t.Context(), &registry.Service{Name: "other", Version: "1", Nodes: []*registry.Node{{Id: "a", Address: "127.0.0.1:1"}}}))
	all, err := caller.Services(t.Context())
	must(t, err)
	same(t, len(all), 2)
}

func TestAPanickingRegistryIsAFailure(t *testing.T) {
	provided, err := micro.Provide("panics", panics{microtest.NewRegistry()})
	must(t, err)
	defer provided.Close()
	caller := micro.NewClient(client.Registry(provided.URL()), client.Environment(false))
	defer caller.Close()
	_, err = caller.Services(t.Context())
	same(t, errors.CodeFor(err), errors.CodeInternal)
}

type panics struct{ registry.Registry }

func (panics) ListServices(context.Context) ([]*registry.Service, error) { panic("no") }
