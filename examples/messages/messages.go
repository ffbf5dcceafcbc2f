// Orders that are published, billed once whatever fails, and looked at when they cannot be.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/broker"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/server"
)

func bill(ctx context.Context, order int) error {
	if order == 13 {
		return errors.Newf(errors.CodeFailedPrecondition, "billing", "the card was refused")
	}
	message, _ := broker.FromContext(ctx)
	fmt.Printf("order %d, attempt %d\n", order, message.Attempt)
	return nil
}

func look(ctx context.Context, order int) error {
	letter, _ := broker.FromContext(ctx)
	fmt.Printf("order %d was given up: %s\n", order, letter.Header.Get("micro-dead-reason"))
	return nil
}

func serve() error {
	service := micro.NewService(micro.Name("billing"), micro.Args(os.Args[1:]...))
	err := micro.Subscribe(service, "orders", bill, server.SubscriberQueue("billing"), server.SubscriberMaxAttempts(3))
	if err != nil {
		return err
	}
	if err := micro.Subscribe(service, "orders.dead", look, server.SubscriberQueue("people")); err != nil {
		return err
	}
	return service.Run()
}

func publish(ctx context.Context, order int) error {
	caller := micro.NewClient()
	defer caller.Close()
	return micro.Publish(ctx, caller, "orders", order, client.PublishMetadata(metadata.Pairs("tenant", "blue")))
}

// audit looks at every order there was, and at those to come.
func audit(ctx context.Context) error {
	caller := micro.NewClient()
	defer caller.Close()
	orders, err := caller.Subscribe(ctx, "orders", client.SubscribeQueue("audit"), client.SubscribeStart(broker.FromFirst()))
	if err != nil {
		return err
	}
	for delivery, err := range orders.All() {
		if err != nil {
			return err
		}
		fmt.Printf("seen %s\n", delivery.Body)
		if err := delivery.Ack(); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	run := serve
	if len(os.Args) > 1 {
		if order, err := strconv.Atoi(os.Args[1]); err == nil {
			run = func() error { return publish(context.Background(), order) }
		} else if os.Args[1] == "audit" {
			run = func() error { return audit(context.Background()) }
		}
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
