package micro_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/microtest"
	"github.com/micro/micro/bindings/go/server"
)

func TestFlagsComeBeforeOptionsAndAreExplained(t *testing.T) {
	service := microtest.New(t).Service("test", micro.Args("--version-of-nothing"))
	_, err := service.Explain()
	same(t, errors.CodeFor(err), errors.CodeInvalidArgument)

	service = microtest.New(t).Service("test", micro.Version("1"), micro.Args("--grace=3s", "--", "--own"))
	settings, err := service.Explain()
	must(t, err)
	seen := map[string]string{}
	for _, one := range settings {
		seen[one.Key] = one.Kind
	}
	same(t, seen["grace"], "flag")
	same(t, seen["version"], "code")
}

func TestHelpIsPrintedAndRunReturns(t *testing.T) {
	must(t, microtest.New(t).Service("test", micro.Args("--help")).Run())
	err := microtest.New(t).Service("test", micro.Args("--adress=:0")).Run()
	if err == nil || !strings.Contains(err.Error(), "address") {
		t.Errorf("it said %v", err)
	}
}

func TestANodeIsRegisteredOnceItsCheckPasses(t *testing.T) {
	fleet := microtest.New(t)
	var fit atomic.Bool
	asked := make(chan struct{}, 64)
	service := fleet.Service("test", micro.RegisterInterval(50*time.Millisecond), micro.RegisterTTL(time.Second),
		micro.Server(server.RegisterCheck(func(context.Context) error {
			select {
			case asked <- struct{}{}:
			default:
			}
			if fit.Load() {
				return nil
			}
			return errors.Newf(errors.CodeUnavailable, "test", "no database")
		})))
	must(t, micro.Handle(service, "Test.Do", hello))
	_ = service.Start()
	<-asked
	caller := fleet.Client()
	_, err := caller.Lookup(t.Context(), "test")
	same(t, errors.CodeFor(err), errors.CodeNotFound)
	fit.Store(true)
	eventually(t, func() bool {
		_, err := caller.Lookup(t.Context(), "test")
		return err == nil
	})
}

func TestWhatMustAnswerIsAsked(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	fleet := microtest.New(t)
	service := fleet.Service("test", micro.Server(server.RegisterCheckURL("tcp://"+listener.Addr().String())))
	fleet.Start(service)
	same(t, service.Address() != "", true)
}
