// Greets its callers, and says which process did.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/server"
)

type Person struct {
	Name string `json:"name"`
}

func hello(ctx context.Context, person Person) (string, error) {
	return fmt.Sprintf("Hello, %s! I am process %d.", person.Name, os.Getpid()), nil
}

func main() {
	service := micro.NewService(micro.Name("greeter"))
	if err := micro.Handle(service, "Greeter.Hello", hello, server.Idempotent(true)); err != nil {
		log.Fatal(err)
	}
	if err := service.Run(); err != nil {
		log.Fatal(err)
	}
}
