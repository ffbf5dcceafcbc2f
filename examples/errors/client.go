// Every failure says what, where and how often it was tried.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/errors"
)

func main() {
	client := micro.NewClient()
	defer client.Close()
	ctx := context.Background()

	ada, err := micro.Call[int](ctx, client, "accounts", "Accounts.Balance", "ada")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ada has", ada)

	// What the handler refused with arrives as it was: code, detail, and the id it gave itself.
	_, err = micro.Call[int](ctx, client, "accounts", "Accounts.Balance", "bob")
	if errors.Is(err, errors.CodeNotFound) {
		tell(err, "look for something else")
	}

	// A deadline holds on both sides: the caller stops waiting, the context of the handler is done.
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = micro.Call[any](short, client, "accounts", "Accounts.Audit", nil)
	if errors.Is(err, context.DeadlineExceeded) {
		tell(err, "give it more time")
	}

	// A service that was not started.
	_, err = micro.Call[any](ctx, client, "payments", "Payments.Pay", nil)
	if errors.Is(err, errors.CodeUnavailable) {
		tell(err, "start it, or WithWaitForReady")
	}
}

func tell(err error, advice string) {
	// Where the call went is known of every error a client returns.
	var said *errors.Error
	if errors.As(err, &said) {
		fmt.Printf("%s %s: %s (%d attempts; %s)\n", said.Kind, said.Id, said.Detail, said.Attempts, advice)
	}
}
