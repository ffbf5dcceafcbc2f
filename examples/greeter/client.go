// Calls the greeter by its name, wherever it runs.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	micro "github.com/micro/micro/bindings/go"
)

type Person struct {
	Name string `json:"name"`
}

func main() {
	client := micro.NewClient()
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	reply, err := micro.Call[string](ctx, client, "greeter", "Greeter.Hello", Person{Name: "Ada"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply)
}
