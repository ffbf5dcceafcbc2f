// Calls the greeter.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"greeter/greeter"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/metadata"
)

func main() {
	service := micro.NewService(micro.Name("caller"))
	service.Init()
	caller := greeter.NewGreeterService("greeter", service.Client())

	ctx := metadata.NewContext(context.Background(), metadata.Metadata{"Tenant": "blue"})
	reply, err := caller.Hello(ctx, &greeter.HelloRequest{Name: "Ada"}, client.WithRequestTimeout(5*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply.Message)

	_, err = caller.Hello(ctx, &greeter.HelloRequest{})
	refused := errors.Parse(err.Error())
	fmt.Println(refused.Id, refused.Code, refused.Detail)

	again, err := caller.Again(ctx, &greeter.HelloRequest{Name: "Ada", Times: 2})
	if err != nil {
		log.Fatal(err)
	}
	for number := 0; number < 2; number++ {
		reply, err := again.Recv()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(reply.Message)
	}
	again.Close()

	talk, err := caller.Talk(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"Bob", "Eve"} {
		if err := talk.Send(&greeter.HelloRequest{Name: name}); err != nil {
			log.Fatal(err)
		}
		reply, err := talk.Recv()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(reply.Message)
	}
	talk.Close()
}
