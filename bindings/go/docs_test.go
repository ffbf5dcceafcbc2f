package micro_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/microtest"
	"github.com/micro/micro/bindings/go/server"
)

type Person struct {
	Name string `json:"name"`
}

type Reply struct {
	Text string `json:"text"`
}

// What docs/go.md shows, beside the examples.

func greeted(service micro.Service) error {
	return micro.Handle(service, "Greeter.Hello", func(ctx context.Context, person Person) (Reply, error) {
		came, _ := metadata.FromIncoming(ctx)
		server.SetHeader(ctx, "served-by", "a")
		server.SetTrailer(ctx, "cost", "3")
		return Reply{"Hello, " + person.Name + " of " + came.Get("tenant") + "!"}, nil
	})
}

func called(ctx context.Context, caller client.Client) (string, error) {
	ctx = metadata.Append(ctx, "tenant", "blue")
	var headers, trailers metadata.MD
	reply, err := micro.Call[Reply](ctx, caller, "greeter", "Greeter.Hello", Person{"Ada"},
		client.WithHeader(&headers), client.WithTrailer(&trailers), client.WithRetries(1))
	return fmt.Sprint(reply.Text, headers.Get("served-by"), trailers.Get("cost")), err
}

// Greeter is served as go-micro serves it: by its methods.
type Greeter struct{}

func (*Greeter) Hello(ctx context.Context, req *Person, rsp *Reply) error {
	rsp.Text = "Hello, " + req.Name + "!"
	return nil
}

func logged(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp any) error {
		begun := time.Now()
		err := next(ctx, req, rsp)
		fmt.Println(req.Endpoint(), time.Since(begun).Round(time.Hour), errors.CodeFor(err))
		return err
	}
}

func TestAGreeterGreets(t *testing.T) {
	fleet := microtest.New(t)
	service := fleet.Service("greeter", micro.WrapHandler(logged))
	if err := micro.RegisterHandler(service.Server(), new(Greeter)); err != nil {
		t.Fatal(err)
	}
	fleet.Start(service)
	reply, err := micro.Call[Reply](t.Context(), fleet.Client(), "greeter", "Greeter.Hello", Person{"Ada"})
	if err != nil || reply.Text != "Hello, Ada!" {
		t.Fatal(reply, err)
	}
}

func TestWhatThePageShowsOfMetadata(t *testing.T) {
	fleet := microtest.New(t)
	service := fleet.Service("greeter")
	must(t, greeted(service))
	fleet.Start(service)
	said, err := called(t.Context(), fleet.Client())
	must(t, err)
	same(t, said, "Hello, Ada of blue!a3")
}
