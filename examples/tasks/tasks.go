// Work that is sent, and whose answer is asked for later, by its id.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/server"
)

func double(_ context.Context, number int) (int, error) { return 2 * number, nil }

func serve() error {
	service := micro.NewService(micro.Name("calculator"))
	if err := micro.HandleTask(service, "double", double, server.SubscriberMaxAttempts(3)); err != nil {
		return err
	}
	return service.Run()
}

func send(ctx context.Context, number int) error {
	caller := micro.NewClient()
	defer caller.Close()
	id, err := micro.Task(ctx, caller, "double", number)
	fmt.Println(id)
	return err
}

func ask(ctx context.Context, id string) error {
	caller := micro.NewClient()
	defer caller.Close()
	state, err := caller.TaskState(ctx, id)
	if err != nil {
		return err
	}
	fmt.Println(state.State)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	answer, err := micro.TaskResult[int](ctx, caller, id)
	fmt.Println(answer)
	return err
}

func main() {
	var err error
	switch arguments := os.Args[1:]; {
	case len(arguments) == 0:
		err = serve()
	case arguments[0] == "send" && len(arguments) == 2:
		number, _ := strconv.Atoi(arguments[1])
		err = send(context.Background(), number)
	default:
		err = ask(context.Background(), arguments[len(arguments)-1])
	}
	if err != nil {
		log.Fatal(err)
	}
}
