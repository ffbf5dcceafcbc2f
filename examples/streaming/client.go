// Reads a stream, sends a stream, and holds a conversation.
package main

import (
	"context"
	"fmt"
	"log"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
)

func main() {
	caller := micro.NewClient()
	defer caller.Close()
	if err := run(context.Background(), caller); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, caller client.Client) error {
	counted, err := micro.ServerStream[int](ctx, caller, "numbers", "Numbers.Count", 3)
	if err != nil {
		return err
	}
	for number, err := range counted.All() {
		if err != nil {
			return err
		}
		fmt.Println("counted", number)
	}

	numbers, err := micro.ClientStream[int, int](ctx, caller, "numbers", "Numbers.Sum")
	if err != nil {
		return err
	}
	for number := 1; number <= 3; number++ {
		if err := numbers.Send(number); err != nil {
			return err
		}
	}
	sum, err := numbers.CloseAndRecv()
	if err != nil {
		return err
	}
	fmt.Println("the sum is", sum)

	// Both directions are open at once: each request is sent after the reply to the last one.
	doubled, err := micro.BidiStream[int, int](ctx, caller, "numbers", "Numbers.Double")
	if err != nil {
		return err
	}
	defer doubled.Close()
	for number := 1; number < 10; {
		if err := doubled.Send(number); err != nil {
			return err
		}
		twice, err := doubled.Recv()
		if err != nil {
			return err
		}
		fmt.Printf("twice %d is %d\n", number, twice)
		number = twice
	}
	return nil
}
