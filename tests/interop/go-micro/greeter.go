package main

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/micro/go-micro/v2"
	"github.com/micro/go-micro/v2/client"
	"github.com/micro/go-micro/v2/errors"
	"github.com/micro/go-micro/v2/metadata"
	"github.com/micro/go-micro/v2/server"

	"peer/greeter"
)

// Greeter is the handler; go-micro takes the endpoint prefix from the type's name.
type Greeter struct {
	service micro.Service
	events  *events

	mutex    sync.Mutex
	attempts map[string]int32
}

func newGreeter(service micro.Service, events *events) *Greeter {
	return &Greeter{service: service, events: events, attempts: map[string]int32{}}
}

func (g *Greeter) Hello(ctx context.Context, req *greeter.HelloRequest, rsp *greeter.HelloReply) error {
	g.called(ctx, "Greeter.Hello")
	set := g.service.Server().Options()
	rsp.Greeting = "Hello " + req.Name
	rsp.Request = req
	rsp.ServedBy = set.Name + "-" + set.Id
	return nil
}

func (g *Greeter) Fail(ctx context.Context, req *greeter.FailRequest, rsp *greeter.FailReply) error {
	g.called(ctx, "Greeter.Fail")
	g.mutex.Lock()
	g.attempts[req.Key]++
	rsp.Attempt = g.attempts[req.Key]
	g.mutex.Unlock()
	if req.Times > 0 && rsp.Attempt > req.Times {
		return nil
	}
	return failure(req)
}

// text is an error that go-micro cannot know, so only its text reaches the wire.
type text string

func (t text) Error() string { return string(t) }

func failure(req *greeter.FailRequest) error {
	micro := errors.New(req.Id, req.Detail, req.Code)
	switch req.Form {
	case greeter.Form_FORM_JSON:
		return text(micro.Error())
	case greeter.Form_FORM_PLAIN:
		return text(req.Detail)
	default:
		return micro
	}
}

func (g *Greeter) Headers(ctx context.Context, req *greeter.HeadersRequest, rsp *greeter.HeadersReply) error {
	g.called(ctx, "Greeter.Headers")
	rsp.Headers = headers(ctx)
	return nil
}

func (g *Greeter) Wait(ctx context.Context, req *greeter.WaitRequest, rsp *greeter.WaitReply) error {
	g.called(ctx, "Greeter.Wait")
	if deadline, ok := ctx.Deadline(); ok {
		rsp.HasDeadline = true
		rsp.RemainingMilliseconds = time.Until(deadline).Milliseconds()
	}
	if req.Milliseconds == 0 {
		return nil
	}
	began := time.Now()
	outcome := "elapsed"
	select {
	case <-ctx.Done():
		outcome = ctx.Err().Error()
	case <-time.After(time.Duration(req.Milliseconds) * time.Millisecond):
	}
	g.events.add("wait", event{"outcome": outcome, "elapsedMs": time.Since(began).Milliseconds()})
	return ctx.Err()
}

func (g *Greeter) Relay(ctx context.Context, req *greeter.RelayRequest, rsp *greeter.RelayReply) error {
	g.called(ctx, "Greeter.Relay")
	rsp.Here = headers(ctx)
	var options []client.CallOption
	if req.Address != "" {
		options = append(options, client.WithAddress(req.Address))
	}
	c := g.service.Client()
	there := new(greeter.HeadersReply)
	err := c.Call(ctx, c.NewRequest(req.Service, "Greeter.Headers", new(greeter.HeadersRequest)), there, options...)
	rsp.There = there.Headers
	return err
}

func (g *Greeter) Count(ctx context.Context, stream server.Stream) error {
	g.called(ctx, "Greeter.Count")
	// Like generated code: one request, and no waiting for the half-close that go-micro clients never send.
	req := new(greeter.CountRequest)
	if err := stream.Recv(req); err != nil {
		return g.ended("Greeter.Count", err)
	}
	for value := int64(1); value <= req.To; value++ {
		if err := stream.Send(&greeter.CountReply{Value: value}); err != nil {
			return g.ended("Greeter.Count", err)
		}
	}
	if req.Failure != nil {
		return g.ended("Greeter.Count", failure(req.Failure))
	}
	return g.ended("Greeter.Count", nil)
}

func (g *Greeter) Sum(ctx context.Context, stream server.Stream) error {
	g.called(ctx, "Greeter.Sum")
	sum := new(greeter.SumReply)
	for {
		req := new(greeter.SumRequest)
		err := stream.Recv(req)
		if err == io.EOF {
			break
		}
		if err != nil {
			return g.ended("Greeter.Sum", err)
		}
		sum.Total += req.Value
		sum.Count++
		if req.Last {
			break
		}
	}
	return g.ended("Greeter.Sum", stream.Send(sum))
}

func (g *Greeter) Chat(ctx context.Context, stream server.Stream) error {
	g.called(ctx, "Greeter.Chat")
	for {
		said := new(greeter.ChatMessage)
		err := stream.Recv(said)
		if err == io.EOF || (err == nil && said.Text == "bye") {
			return g.ended("Greeter.Chat", nil)
		}
		if err != nil {
			return g.ended("Greeter.Chat", err)
		}
		if said.Failure != nil {
			return g.ended("Greeter.Chat", failure(said.Failure))
		}
		if err := stream.Send(&greeter.ChatMessage{Text: "echo: " + said.Text}); err != nil {
			return g.ended("Greeter.Chat", err)
		}
	}
}

func (g *Greeter) called(ctx context.Context, endpoint string) {
	facts := event{"endpoint": endpoint, "headers": headers(ctx)}
	if deadline, ok := ctx.Deadline(); ok {
		facts["remainingMs"] = time.Until(deadline).Milliseconds()
	}
	g.events.add("call", facts)
}

func (g *Greeter) ended(endpoint string, err error) error {
	facts := event{"endpoint": endpoint, "outcome": "ok"}
	if err != nil {
		facts["outcome"] = err.Error()
	}
	g.events.add("streamEnd", facts)
	return err
}

func headers(ctx context.Context) map[string]string {
	md, _ := metadata.FromContext(ctx)
	return md
}
