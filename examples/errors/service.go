// Refuses, and takes its time: what callers see of it is in the client next door.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/errors"
)

func balance(ctx context.Context, owner string) (int, error) {
	switch owner {
	case "ada":
		return 1815, nil
	case "":
		return 0, errors.BadRequest("accounts", "owner is empty")
	}
	return 0, errors.NotFound("accounts", "%s has no account", owner)
}

func audit(ctx context.Context, _ any) (any, error) {
	// The deadline travels with the call; a handler can see how much of it is left.
	if deadline, ok := ctx.Deadline(); ok {
		fmt.Printf("the caller waits another %.3f s\n", time.Until(deadline).Seconds())
	}
	// When the caller no longer waits, the context is done.
	select {
	case <-time.After(time.Minute):
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func main() {
	service := micro.NewService(micro.Name("accounts"))
	err := micro.Handle(service, "Accounts.Balance", balance)
	if err == nil {
		err = micro.Handle(service, "Accounts.Audit", audit)
	}
	if err == nil {
		err = service.Run()
	}
	if err != nil {
		log.Fatal(err)
	}
}
