package micro_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/microtest"
	"github.com/micro/micro/bindings/go/server"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type person struct {
	Name string `json:"name"`
}

type greeting struct {
	Text string `json:"text"`
}

func hello(_ context.Context, who person) (greeting, error) {
	return greeting{"Hello, " + who.Name + "!"}, nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T comparable](t testing.TB, found, wanted T) {
	t.Helper()
	if found != wanted {
		t.Errorf("found %v, wanted %v", found, wanted)
	}
}

// serve starts a service with one endpoint "Test.Do", and gives a client of it.
func serve[In, Out any](t *testing.T, handler func(context.Context, In) (Out, error), opts ...micro.Option) (micro.Service, client.Client) {
	t.Helper()
	fleet := microtest.New(t)
	service := fleet.Service("test", opts...)
	must(t, micro.Handle(service, "Test.Do", handler))
	return fleet.Start(service), fleet.Client()
}

func TestStructsTravelAsJSON(t *testing.T) {
	_, caller := serve(t, hello)
	reply, err := micro.Call[greeting](t.Context(), caller, "test", "Test.Do", person{"Ada"})
	must(t, err)
	same(t, reply.Text, "Hello, Ada!")
}

func TestProtobufMessagesTravelAsProtobufAndAsJSON(t *testing.T) {
	twice := func(_ context.Context, in *wrapperspb.Int64Value) (*wrapperspb.Int64Value, error) {
		return wrapperspb.Int64(2 * in.Value), nil
	}
	_, caller := serve(t, twice)
	reply, err := micro.Call[*wrapperspb.Int64Value](t.Context(), caller, "test", "Test.Do", wrapperspb.Int64(21))
	must(t, err)
	same(t, reply.Value, 42)
	text := new(string)
	request := caller.NewRequest("test", "Test.Do", wrapperspb.Int64(4), client.WithContentType("application/json"))
	must(t, caller.Call(t.Context(), request, text))
	same(t, *text, "8")
}

func TestBytesAreLeftAlone(t *testing.T) {
	echo := func(_ context.Context, in []byte) ([]byte, error) { return in, nil }
	_, caller := serve(t, echo)
	for _, size := range []int{0, 1, 4096, 1 << 20} {
		sent := strings.Repeat("x", size)
		reply, err := micro.Call[[]byte](t.Context(), caller, "test", "Test.Do", []byte(sent))
		must(t, err)
		same(t, string(reply) == sent, true)
	}
}

func TestWhatIsNoMessageOfTheTypeIsRefusedByName(t *testing.T) {
	_, caller := serve(t, hello)
	_, err := micro.Call[greeting](t.Context(), caller, "test", "Test.Do", "Ada")
	same(t, errors.Is(err, errors.CodeInvalidArgument), true)
	if !strings.Contains(err.Error(), "the request of Test.Do is no micro_test.person") {
		t.Errorf("it said %s", err)
	}
	_, err = micro.Call[greeting](t.Context(), caller, "test", "Test.Do", make(chan int))
	same(t, errors.Is(err, errors.CodeInvalidArgument), true)
}

func TestErrorsArriveAsTheyWereReturned(t *testing.T) {
	for _, one := range []struct {
		returned error
		code     errors.Code
		number   int32
		is       error
	}{
		{errors.NotFound("test", "no %s", "such"), errors.CodeNotFound, 404, errors.NotFound("test", "x")},
		{errors.New("test", "a teapot", 418), errors.CodeUnknown, 418, errors.New("", "", 418)},
		{errors.Newf(errors.CodeAborted, "test", "again"), errors.CodeAborted, 409, errors.CodeAborted},
		{fmt.Errorf("wrapped: %w", errors.Forbidden("test", "no")), errors.CodePermissionDenied, 403, errors.CodePermissionDenied},
		{stderrors.New("plain"), errors.CodeUnknown, 500, errors.CodeUnknown},
		{fs.ErrNotExist, errors.CodeNotFound, 404, errors.CodeNotFound},
		{io.EOF, errors.CodeOutOfRange, 400, errors.CodeOutOfRange},
		{context.DeadlineExceeded, errors.CodeDeadlineExceeded, 408, context.DeadlineExceeded},
		{errors.CodeDataLoss, errors.CodeDataLoss, 500, errors.CodeDataLoss},
	} {
		_, caller := serve(t, func(context.Context, string) (string, error) { return "", one.returned })
		_, err := micro.Call[string](t.Context(), caller, "test", "Test.Do", "")
		var said *errors.Error
		if !errors.As(err, &said) {
			t.Fatalf("%v is no *errors.Error", err)
		}
		same(t, said.Kind, one.code)
		same(t, said.Code, one.number)
		same(t, errors.Is(err, one.is), true)
		same(t, said.Endpoint, "Test.Do")
		same(t, said.Attempts, 1)
		parsed := errors.Parse(err.Error())
		same(t, parsed.Code, said.Code)
		same(t, parsed.Kind, said.Kind)
	}
}

func TestAPanicIsTheServicesOwnAndTheServerGoesOn(t *testing.T) {
	_, caller := serve(t, func(_ context.Context, in string) (string, error) {
		if in == "panic" {
			panic("secret")
		}
		return in, nil
	})
	_, err := micro.Call[string](t.Context(), caller, "test", "Test.Do", "panic")
	same(t, errors.CodeFor(err), errors.CodeInternal)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the caller heard %s", err)
	}
	reply, err := micro.Call[string](t.Context(), caller, "test", "Test.Do", "fine")
	must(t, err)
	same(t, reply, "fine")
}

func TestAHandlerThatEndsItsGoroutineIsAnswered(t *testing.T) {
	_, caller := serve(t, func(context.Context, string) (string, error) {
		ended := make(chan struct{})
		defer close(ended)
		goexit()
		return "", nil
	})
	_, err := micro.Call[string](t.Context(), caller, "test", "Test.Do", "")
	same(t, errors.CodeFor(err), errors.CodeInternal)
}

func TestMetadataTravelsBothWays(t *testing.T) {
	_, caller := serve(t, func(ctx context.Context, _ string) (string, error) {
		came, _ := metadata.FromIncoming(ctx)
		flat, _ := metadata.FromContext(ctx)
		server.SetHeader(ctx, "test-head", "1", "2")
		server.SetTrailer(ctx, "test-tail-bin", "\x00\xff")
		return strings.Join(came.Values("test-many"), "|") + " " + flat["Test-Flat"], nil
	})
	ctx := metadata.Append(t.Context(), "Test-Many", "a", "test-many", "b")
	ctx = metadata.Set(ctx, "test-flat", "c")
	var headers, trailers metadata.MD
	var reply string
	must(t, caller.Call(ctx, caller.NewRequest("test", "Test.Do", ""), &reply, client.WithHeader(&headers), client.WithTrailer(&trailers)))
	same(t, reply, "a|b c")
	same(t, strings.Join(headers.Values("test-head"), "|"), "1|2")
	same(t, trailers.Get("test-tail-bin"), "\x00\xff")
}

func TestADeadlineEndsTheCallAndTheContextOfItsHandler(t *testing.T) {
	seen := make(chan error, 1)
	_, caller := serve(t, func(ctx context.Context, _ string) (string, error) {
		deadline, ok := ctx.Deadline()
		if !ok || time.Until(deadline) > 200*time.Millisecond {
			seen <- fmt.Errorf("the deadline is %v", deadline)
			return "", nil
		}
		<-ctx.Done()
		seen <- ctx.Err()
		return "", ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := micro.Call[string](ctx, caller, "test", "Test.Do", "")
	same(t, errors.Is(err, context.DeadlineExceeded), true)
	if err := <-seen; err != context.DeadlineExceeded && err != context.Canceled {
		t.Error(err)
	}
}

func TestAContextThatIsDoneBeforeMakesNoCall(t *testing.T) {
	_, caller := serve(t, func(context.Context, string) (string, error) {
		t.Error("it was called")
		return "", nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := micro.Call[string](ctx, caller, "test", "Test.Do", "")
	same(t, errors.Is(err, context.Canceled), true)
}

func TestACancelledContextEndsTheHandler(t *testing.T) {
	running, ended := make(chan struct{}), make(chan struct{})
	_, caller := serve(t, func(ctx context.Context, _ string) (string, error) {
		close(running)
		// One made of it needs no goroutine, and ends with it.
		below, cancel := context.WithCancel(ctx)
		defer cancel()
		<-below.Done()
		close(ended)
		return "", below.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-running; cancel() }()
	_, err := micro.Call[string](ctx, caller, "test", "Test.Do", "")
	same(t, errors.Is(err, context.Canceled), true)
	<-ended
}

func TestAHandlerThatIgnoresItsContextDoesNotKeepItsCaller(t *testing.T) {
	release := make(chan struct{})
	_, caller := serve(t, func(context.Context, string) (string, error) {
		<-release
		return "late", nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := micro.Call[string](ctx, caller, "test", "Test.Do", "")
	same(t, errors.Is(err, context.DeadlineExceeded), true)
	close(release)
}

func TestCallsOfAHandlerArePartOfTheCallItServes(t *testing.T) {
	fleet := microtest.New(t)
	inner := fleet.Service("inner")
	must(t, micro.Handle(inner, "Test.Do", func(ctx context.Context, _ string) (string, error) {
		info, _ := server.Describe(ctx)
		came, _ := metadata.FromIncoming(ctx)
		deadline, ok := ctx.Deadline()
		return fmt.Sprint(info.Caller, " ", came.Get("test-tenant"), " ", ok && time.Until(deadline) < 3*time.Second), nil
	}))
	fleet.Start(inner)
	outer := fleet.Service("outer")
	must(t, micro.Handle(outer, "Test.Do", func(ctx context.Context, in string) (string, error) {
		return micro.Call[string](ctx, outer.Client(), "inner", "Test.Do", in)
	}))
	fleet.Start(outer)
	ctx, cancel := context.WithTimeout(metadata.Append(t.Context(), "test-tenant", "blue"), 2*time.Second)
	defer cancel()
	reply, err := micro.Call[string](ctx, fleet.Client(), "outer", "Test.Do", "")
	must(t, err)
	same(t, reply, "outer blue true")
}

func TestWrappersAreAroundCallsTheFirstOneOutermost(t *testing.T) {
	var lock sync.Mutex
	var seen []string
	note := func(what string) {
		lock.Lock()
		defer lock.Unlock()
		seen = append(seen, what)
	}
	handlers := func(name string) server.HandlerWrapper {
		return func(next server.HandlerFunc) server.HandlerFunc {
			return func(ctx context.Context, req server.Request, rsp any) error {
				note(name + " " + req.Endpoint())
				return next(ctx, req, rsp)
			}
		}
	}
	calls := func(next client.CallFunc) client.CallFunc {
		return func(ctx context.Context, node *registryNode, req client.Request, rsp any, opts client.CallOptions) error {
			note("call " + req.Service())
			return next(ctx, node, req, rsp, opts)
		}
	}
	fleet := microtest.New(t)
	service := fleet.Service("test", micro.WrapHandler(handlers("a"), handlers("b")))
	must(t, micro.Handle(service, "Test.Do", hello))
	fleet.Start(service)
	_, err := micro.Call[greeting](t.Context(), fleet.Client(client.WrapCall(calls)), "test", "Test.Do", person{"Ada"})
	must(t, err)
	same(t, strings.Join(seen, ", "), "call test, a Test.Do, b Test.Do")
}

func TestHooksRunInOrderAndAStartThatFailsIsUndone(t *testing.T) {
	fleet := microtest.New(t)
	var seen []string
	hook := func(name string, err error) func() error {
		return func() error { seen = append(seen, name); return err }
	}
	service := fleet.Service("test", micro.BeforeStart(hook("before start", nil)), micro.AfterStart(hook("after start", nil)),
		micro.BeforeStop(hook("before stop", nil)), micro.AfterStop(hook("after stop", nil)))
	fleet.Start(service)
	must(t, service.Stop())
	same(t, strings.Join(seen, ", "), "before start, after start, before stop, after stop")

	refused := fleet.Service("refused", micro.AfterStart(hook("refuses", stderrors.New("no database"))))
	if err := refused.Start(); err == nil || err.Error() != "no database" {
		t.Errorf("it said %v", err)
	}
	same(t, refused.Record() == nil, true)
}

func TestAMistakeInASettingIsToldByTheStart(t *testing.T) {
	fleet := microtest.New(t)
	service := fleet.Service("test", micro.Document(`{"adress": ":0"}`))
	err := service.Start()
	if err == nil || !strings.Contains(err.Error(), "did you mean `address`?") {
		t.Errorf("it said %v", err)
	}
	same(t, errors.CodeFor(err), errors.CodeInvalidArgument)
}

func TestWhatDoesNotRunSaysSo(t *testing.T) {
	service := microtest.New(t).Service("test")
	same(t, errors.CodeFor(service.SetHealth(true)), errors.CodeFailedPrecondition)
	_, err := service.Stats(t.Context())
	same(t, errors.CodeFor(err), errors.CodeFailedPrecondition)
	same(t, service.Address(), "")
	must(t, service.Stop())
}

func TestHealthAndStatsAndNodesAreTold(t *testing.T) {
	service, caller := serve(t, hello)
	_, err := micro.Call[greeting](t.Context(), caller, "test", "Test.Do", person{"Ada"})
	must(t, err)
	must(t, service.SetHealth(false))
	healths, err := caller.Health(t.Context(), "test")
	must(t, err)
	same(t, len(healths), 1)
	same(t, healths[0].Serving, false)
	nodes, err := caller.Nodes(t.Context(), "test")
	must(t, err)
	same(t, len(nodes), 1)
	stats, err := service.Stats(t.Context())
	must(t, err)
	same(t, strings.Contains(string(stats), "Test.Do"), true)
	found, err := caller.Lookup(t.Context(), "test")
	must(t, err)
	same(t, found[0].Nodes[0].Id, service.Record().Nodes[0].Id)
	_, err = caller.Lookup(t.Context(), "nobody")
	same(t, errors.CodeFor(err), errors.CodeNotFound)
}
