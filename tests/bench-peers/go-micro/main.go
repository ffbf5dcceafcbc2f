// Programs of go-micro v2 that are measured, as those of bindings/go/bench are: `serve`, or `call --address A call --concurrency N
// --size BYTES`, or `posted call` with the same: its broker, which posts messages to subscribers of this process.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/micro/go-micro/v2"
	"github.com/micro/go-micro/v2/broker"
	"github.com/micro/go-micro/v2/client"
	"github.com/micro/go-micro/v2/logger"
	"github.com/micro/go-micro/v2/registry/memory"
)

// Payload is bench.Payload.
type Payload struct {
	Body []byte `protobuf:"bytes,1,opt,name=body,proto3" json:"body,omitempty"`
}

func (p *Payload) Reset()         { *p = Payload{} }
func (p *Payload) String() string { return string(p.Body) }
func (p *Payload) ProtoMessage()  {}

type Echo struct{}

func (Echo) Call(ctx context.Context, in *Payload, out *Payload) error {
	out.Body = in.Body
	return nil
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	args := os.Args[1:]
	// go-micro reads the command line itself and does not know these.
	os.Args = os.Args[:1]
	must(logger.Init(logger.WithLevel(logger.ErrorLevel)))
	service := micro.NewService(micro.Name("bench"), micro.Registry(memory.NewRegistry()), micro.Address("127.0.0.1:0"))
	if args[0] == "serve" {
		must(service.Server().Handle(service.Server().NewHandler(new(Echo))))
		must(service.Server().Start())
		fmt.Println("listening", service.Server().Options().Address)
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		}
		must(service.Server().Stop())
		return
	}
	flags := flag.NewFlagSet("call", flag.ExitOnError)
	address := flags.String("address", "", "host:port")
	must(flags.Parse(args[1:]))
	more := flag.NewFlagSet("load", flag.ExitOnError)
	concurrency, size := more.Int("concurrency", 1, "calls at once"), more.Int("size", 64, "bytes")
	must(more.Parse(flags.Args()[1:]))
	message := &Payload{Body: bytes.Repeat([]byte("x"), *size)}
	by := service.Client()
	call := func(int) {
		var reply Payload
		must(by.Call(context.Background(), by.NewRequest("bench", "Echo.Call", message), &reply, client.WithAddress(*address)))
		if !bytes.Equal(reply.Body, message.Body) {
			must(fmt.Errorf("another message came back"))
		}
	}
	if args[0] == "posted" {
		call = posted(service.Options().Broker, message.Body, *concurrency)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		ms, err := strconv.Atoi(lines.Text())
		must(err)
		load(call, *concurrency, time.Duration(ms)*time.Millisecond)
	}
}

// Publishes to a topic for each caller and waits until its subscriber has the message.
func posted(by broker.Broker, body []byte, concurrency int) func(int) {
	must(by.Connect())
	came := make([]chan struct{}, concurrency)
	for i := range came {
		i := i
		came[i] = make(chan struct{})
		_, err := by.Subscribe(fmt.Sprint("topic-", i), func(event broker.Event) error {
			if !bytes.Equal(event.Message().Body, body) {
				must(fmt.Errorf("another message came"))
			}
			came[i] <- struct{}{}
			return nil
		})
		must(err)
	}
	return func(i int) {
		message := &broker.Message{Header: map[string]string{"Content-Type": "application/octet-stream"}, Body: body}
		must(by.Publish(fmt.Sprint("topic-", i), message))
		<-came[i]
	}
}

func load(call func(int), concurrency int, length time.Duration) {
	begun := time.Now()
	until := begun.Add(length)
	var lock sync.Mutex
	var all []time.Duration
	var group sync.WaitGroup
	for i := 0; i < concurrency; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			var mine []time.Duration
			for at := time.Now(); at.Before(until); {
				call(i)
				now := time.Now()
				mine = append(mine, now.Sub(at))
				at = now
			}
			lock.Lock()
			defer lock.Unlock()
			all = append(all, mine...)
		}(i)
	}
	group.Wait()
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	median := 0.0
	if len(all) > 0 {
		median = float64(all[len(all)/2]) / float64(time.Microsecond)
	}
	rate := float64(len(all)) / time.Since(begun).Seconds()
	must(json.NewEncoder(os.Stdout).Encode(map[string]interface{}{"completed": len(all), "rate": rate, "p50_us": median}))
}
