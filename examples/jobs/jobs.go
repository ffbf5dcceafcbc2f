// A shop that cleans up by the clock, once in the fleet, and refreshes what each node has by itself.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/server"
)

func clean(ctx context.Context) error {
	run, _ := server.RunFromContext(ctx)
	fmt.Printf("cleaned, attempt %d\n", run.Attempt)
	return nil
}

func refresh(context.Context) error {
	fmt.Println("refreshed")
	return nil
}

func serve() error {
	service := micro.NewService(micro.Name("shop"), micro.Args(os.Args[1:]...))
	cleanUp := cmp.Or(os.Getenv("CLEAN_UP"), "0 3 * * *")
	err := micro.Cron(service, cleanUp, clean, server.JobName("clean"), server.JobZone("Europe/Berlin"),
		server.JobMissed("once"), server.JobTimeout(10*time.Minute), server.JobMaxAttempts(3))
	if err != nil {
		return err
	}
	if err := micro.Every(service, time.Second, refresh, server.JobName("refresh"), server.JobScope("node")); err != nil {
		return err
	}
	return service.Run()
}

func main() {
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}
