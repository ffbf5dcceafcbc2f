// Greets its callers, once or more often.
package main

import (
	"context"
	"fmt"
	"io"
	"log"

	"greeter/greeter"

	"github.com/micro/go-micro/v2"
	"github.com/micro/go-micro/v2/errors"
	"github.com/micro/go-micro/v2/metadata"
	"github.com/micro/go-micro/v2/server"
)

type Greeter struct{}

func (g *Greeter) Hello(ctx context.Context, req *greeter.HelloRequest, rsp *greeter.HelloReply) error {
	if req.Name == "" {
		return errors.BadRequest("greeter", "a name is missing")
	}
	rsp.Message = "Hello, " + req.Name + "!"
	if tenant, ok := metadata.Get(ctx, "Tenant"); ok {
		rsp.Message = "Hello, " + req.Name + " of " + tenant + "!"
	}
	return nil
}

func (g *Greeter) Again(ctx context.Context, req *greeter.HelloRequest, stream greeter.Greeter_AgainStream) error {
	for number := int32(1); number <= req.Times; number++ {
		reply := &greeter.HelloReply{Message: fmt.Sprintf("Hello for the %d. time, %s!", number, req.Name)}
		if err := stream.Send(reply); err != nil {
			return err
		}
	}
	return nil
}

func (g *Greeter) Talk(ctx context.Context, stream greeter.Greeter_TalkStream) error {
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&greeter.HelloReply{Message: "Hello, " + req.Name + "!"}); err != nil {
			return err
		}
	}
}

func logged(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp interface{}) error {
		log.Printf("%s is called", req.Endpoint())
		return next(ctx, req, rsp)
	}
}

func main() {
	service := micro.NewService(
		micro.Name("greeter"),
		micro.WrapHandler(logged),
		micro.AfterStop(func() error {
			fmt.Println("stopped")
			return nil
		}),
	)
	service.Init()
	if err := greeter.RegisterGreeterHandler(service.Server(), new(Greeter)); err != nil {
		log.Fatal(err)
	}
	if err := service.Run(); err != nil {
		log.Fatal(err)
	}
}
