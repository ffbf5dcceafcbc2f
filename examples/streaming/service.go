// The three kinds of stream: many replies, many requests, and both at once.
package main

import (
	"context"
	"errors"
	"log"

	micro "github.com/micro/micro/bindings/go"
)

func count(ctx context.Context, to int, replies *micro.Stream[struct{}, int]) error {
	for number := 1; number <= to; number++ {
		if err := replies.Send(number); err != nil {
			return err
		}
	}
	return nil
}

func sum(ctx context.Context, numbers *micro.Stream[int, struct{}]) (int, error) {
	total := 0
	for number, err := range numbers.All() {
		if err != nil {
			return 0, err
		}
		total += number
	}
	return total, nil
}

func double(ctx context.Context, numbers *micro.Stream[int, int]) error {
	for number, err := range numbers.All() {
		if err != nil {
			return err
		}
		if err := numbers.Send(2 * number); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	service := micro.NewService(micro.Name("numbers"))
	err := errors.Join(
		micro.HandleServerStream(service, "Numbers.Count", count),
		micro.HandleClientStream(service, "Numbers.Sum", sum),
		micro.HandleBidiStream(service, "Numbers.Double", double),
	)
	if err == nil {
		err = service.Run()
	}
	if err != nil {
		log.Fatal(err)
	}
}
