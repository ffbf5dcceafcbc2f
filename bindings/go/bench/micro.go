package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/server"
)

func serveMicro() (string, func()) {
	service := micro.NewService(micro.Name("echo"), micro.Registry("memory://bench"), micro.Address("127.0.0.1:0"),
		micro.Server(server.Quiet(true), server.Propagation(0)))
	must(micro.Handle(service, "Echo.Call", func(_ context.Context, message []byte) ([]byte, error) { return message, nil }))
	must(micro.HandleServerStream(service, "Echo.Stream", func(_ context.Context, count []byte, replies *micro.Stream[struct{}, []byte]) error {
		left, err := strconv.Atoi(string(count))
		message := make([]byte, streamedSize)
		for ; err == nil && left > 0; left-- {
			err = replies.Send(message)
		}
		return err
	}))
	must(service.Start())
	return service.Address(), func() { must(service.Close()) }
}

type microCaller struct{ client client.Client }

func callMicro(address string) caller {
	return microCaller{micro.NewClient(client.Address(address))}
}

func (c microCaller) call(message []byte) ([]byte, error) {
	return micro.Call[[]byte](context.Background(), c.client, "bench", "Echo.Call", message)
}

func (c microCaller) stream(count int) (read int, err error) {
	stream, err := micro.ServerStream[[]byte](context.Background(), c.client, "bench", "Echo.Stream", []byte(strconv.Itoa(count)))
	for err == nil {
		if _, err = stream.Recv(); err == nil {
			read++
		}
	}
	if err == io.EOF {
		err = nil
	}
	return read, err
}

// startup prints how many milliseconds a program takes over a bare one until it has served its first call.
func startup() {
	best := func(how string) time.Duration {
		least := time.Hour
		for range 15 {
			begun := time.Now()
			command := exec.Command(os.Args[0], "started")
			command.Env = append(os.Environ(), "MICRO_BENCH_STARTED="+how)
			must(command.Run())
			least = min(least, time.Since(begun))
		}
		return least
	}
	bare, serving := best("bare"), best("serving")
	must(json.NewEncoder(os.Stdout).Encode(map[string]float64{"value": float64(serving-bare) / float64(time.Millisecond)}))
}

func init() {
	switch os.Getenv("MICRO_BENCH_STARTED") {
	case "bare":
		os.Exit(0)
	case "serving":
		address, stop := serveMicro()
		_, err := callMicro(address).call([]byte("x"))
		must(err)
		stop()
		os.Exit(0)
	}
}

// border prints what crossing the border costs: for each call, events a batch, nanoseconds of a crossing, allocations.
func border() {
	address, _ := serveMicro()
	by := callMicro(address)
	message := payload(64)
	const calls, depth = 20_000, 64
	_, err := by.call(message)
	must(err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	numbers := native.Crossed()
	var group sync.WaitGroup
	for range depth {
		group.Add(1)
		go func() {
			defer group.Done()
			for range calls / depth {
				_, err := by.call(message)
				must(err)
			}
		}()
	}
	group.Wait()
	runtime.ReadMemStats(&after)
	more := native.Crossed()
	begun := time.Now()
	const crossings = 1_000_000
	for range crossings {
		native.Live(0)
	}
	crossing := time.Since(begun)
	must(json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"batch":  float64(more.Events-numbers.Events) / float64(more.Batches-numbers.Batches),
		"ns":     float64(crossing.Nanoseconds()) / crossings,
		"allocs": float64(after.Mallocs-before.Mallocs) / calls,
	}))
}
