package micro_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/microtest"
	"github.com/micro/micro/bindings/go/server"
)

// streams starts a service with a stream of each shape.
func streams(t *testing.T) (client.Client, chan error) {
	t.Helper()
	fleet := microtest.New(t)
	service := fleet.Service("test")
	ended := make(chan error, 16)
	must(t, micro.HandleServerStream(service, "Test.Count", func(ctx context.Context, to int, replies *micro.Stream[struct{}, int]) (err error) {
		defer func() { ended <- err }()
		for number := range to {
			if err := replies.Send(number); err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, micro.HandleClientStream(service, "Test.Sum", func(ctx context.Context, numbers *micro.Stream[int, struct{}]) (sum int, err error) {
		defer func() { ended <- err }()
		for number, err := range numbers.All() {
			if err != nil {
				return 0, err
			}
			sum += number
		}
		server.SetTrailer(ctx, "test-tail", "done")
		return sum, nil
	}))
	must(t, micro.HandleBidiStream(service, "Test.Double", func(ctx context.Context, numbers *micro.Stream[int, int]) (err error) {
		defer func() { ended <- err }()
		for number, err := range numbers.All() {
			if err != nil {
				return err
			}
			if number < 0 {
				return errors.BadRequest("test", "it is below zero")
			}
			if err := numbers.Send(2 * number); err != nil {
				return err
			}
		}
		return nil
	}))
	fleet.Start(service)
	return fleet.Client(), ended
}

func TestManyRepliesComeInOrderAndTheStreamEnds(t *testing.T) {
	caller, _ := streams(t)
	stream, err := micro.ServerStream[int](t.Context(), caller, "test", "Test.Count", 1000)
	must(t, err)
	next := 0
	for number, err := range stream.All() {
		must(t, err)
		same(t, number, next)
		next++
	}
	same(t, next, 1000)
}

func TestManyRequestsHaveOneReplyAndItsTrailers(t *testing.T) {
	caller, _ := streams(t)
	stream, err := micro.ClientStream[int, int](t.Context(), caller, "test", "Test.Sum")
	must(t, err)
	for number := range 1000 {
		must(t, stream.Send(number))
	}
	sum, err := stream.CloseAndRecv()
	must(t, err)
	same(t, sum, 999*1000/2)
	same(t, stream.Trailer().Get("test-tail"), "done")
	if err := stream.Send(1); err == nil {
		t.Error("it was sent after the end")
	}
}

func TestBothWaysAtOnceAndAFailureIsTheEnd(t *testing.T) {
	caller, _ := streams(t)
	stream, err := micro.BidiStream[int, int](t.Context(), caller, "test", "Test.Double")
	must(t, err)
	for number := range 100 {
		must(t, stream.Send(number))
		twice, err := stream.Recv()
		must(t, err)
		same(t, twice, 2*number)
	}
	must(t, stream.Send(-1))
	_, err = stream.Recv()
	same(t, errors.Is(err, errors.CodeInvalidArgument), true)
	same(t, strings.Contains(err.Error(), "it is below zero"), true)
}

func TestBreakingOutOfAStreamEndsItsHandler(t *testing.T) {
	caller, ended := streams(t)
	stream, err := micro.ServerStream[int](t.Context(), caller, "test", "Test.Count", 1<<30)
	must(t, err)
	for number, err := range stream.All() {
		must(t, err)
		if number == 10 {
			break
		}
	}
	same(t, errors.Is(<-ended, context.Canceled), true)
}

func TestACancelledContextEndsAStreamOnBothSides(t *testing.T) {
	caller, ended := streams(t)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := micro.BidiStream[int, int](ctx, caller, "test", "Test.Double")
	must(t, err)
	must(t, stream.Send(1))
	_, err = stream.Recv()
	must(t, err)
	cancel()
	_, err = stream.Recv()
	same(t, errors.Is(err, context.Canceled), true)
	same(t, errors.Is(<-ended, context.Canceled), true)
}

func TestADeadlineEndsAStreamOnBothSides(t *testing.T) {
	caller, ended := streams(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	stream, err := micro.BidiStream[int, int](ctx, caller, "test", "Test.Double")
	must(t, err)
	_, err = stream.Recv()
	same(t, errors.Is(err, context.DeadlineExceeded), true)
	<-ended
}

func TestASlowReaderHoldsItsSenderUp(t *testing.T) {
	fleet := microtest.New(t)
	service := fleet.Service("test")
	sent := make(chan int, 1<<16)
	must(t, micro.HandleServerStream(service, "Test.Flood", func(ctx context.Context, _ []byte, replies *micro.Stream[struct{}, []byte]) error {
		message := make([]byte, 64<<10)
		for number := range 4096 {
			if err := replies.Send(message); err != nil {
				return err
			}
			sent <- number
		}
		return nil
	}))
	fleet.Start(service)
	stream, err := micro.ServerStream[[]byte](t.Context(), fleet.Client(), "test", "Test.Flood", []byte{})
	must(t, err)
	_, err = stream.Recv()
	must(t, err)
	// It ends up waiting: 256 MiB are never under way.
	last := -1
	for quiet := false; !quiet; {
		select {
		case last = <-sent:
		case <-time.After(500 * time.Millisecond):
			quiet = true
		}
	}
	if last > 2048 {
		t.Errorf("%d messages were taken, and one was read", last)
	}
	must(t, stream.Close())
}

func TestGoMicrosStreamsEndWithEOF(t *testing.T) {
	caller, _ := streams(t)
	stream, err := caller.Stream(t.Context(), caller.NewRequest("test", "Test.Double", 0))
	must(t, err)
	must(t, stream.Send(4))
	var twice int
	must(t, stream.Recv(&twice))
	same(t, twice, 8)
	must(t, stream.CloseSend())
	same(t, stream.Recv(&twice), io.EOF)
	must(t, stream.Error())
}

func TestAHandlerWhoseReplyIsNotTakenSeesWhyInItsContext(t *testing.T) {
	fleet := microtest.New(t)
	service := fleet.Service("test")
	seen := make(chan error, 1)
	must(t, micro.HandleServerStream(service, "Test.Flood", func(ctx context.Context, _ []byte, replies *micro.Stream[struct{}, []byte]) error {
		message := make([]byte, 64<<10)
		for {
			if err := replies.Send(message); err != nil {
				seen <- ctx.Err()
				return err
			}
		}
	}))
	fleet.Start(service)
	caller := fleet.Client()
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := micro.ServerStream[[]byte](ctx, caller, "test", "Test.Flood", []byte{})
		must(t, err)
		_, err = stream.Recv()
		must(t, err)
		cancel()
		if err := <-seen; err == nil {
			t.Fatal("it was told to end, and its context was not done")
		}
	}
}

func TestAStreamThatIsKeptAfterItsHandlerIsOver(t *testing.T) {
	fleet := microtest.New(t)
	service := fleet.Service("test")
	kept := make(chan *micro.Stream[int, int], 1)
	must(t, micro.HandleBidiStream(service, "Test.Keep", func(_ context.Context, numbers *micro.Stream[int, int]) error {
		kept <- numbers
		return nil
	}))
	fleet.Start(service)
	stream, err := micro.BidiStream[int, int](t.Context(), fleet.Client(), "test", "Test.Keep")
	must(t, err)
	_, err = stream.Recv()
	same(t, err, io.EOF)
	numbers := <-kept
	eventually(t, func() bool { return numbers.Send(1) != nil })
	_, err = numbers.Recv()
	same(t, errors.CodeFor(err), errors.CodeCanceled)
}
