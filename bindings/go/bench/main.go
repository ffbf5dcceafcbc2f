// Programs that are measured, of micro and of grpc-go: both send and take messages as bytes.
//
//	bench serve KIND                                                      prints its address, and serves until its standard input ends
//	bench call KIND --address A call|stream --concurrency N --size BYTES  keeps calls in flight for as many milliseconds as each line says
//	bench startup                                                         what starting takes over a bare program
//	bench border                                                          what crossing the border costs
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// streamed is the messages of one stream, of so many bytes.
const (
	streamed     = 2000
	streamedSize = 1024
)

// caller is a client of either kind.
type caller interface {
	call(message []byte) ([]byte, error)
	stream(count int) (int, error)
}

func main() {
	switch os.Args[1] {
	case "serve":
		address, stop := servers[os.Args[2]]()
		fmt.Println("listening", address)
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		}
		stop()
	case "call":
		load(os.Args[2], os.Args[3:])
	case "startup":
		startup()
	case "border":
		border()
	}
}

var servers = map[string]func() (string, func()){"micro": serveMicro, "grpc": serveGRPC}

var callers = map[string]func(address string) caller{"micro": callMicro, "grpc": callGRPC}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// payload is a bench.Payload of so many bytes.
func payload(size int) []byte {
	made := []byte{0x0a}
	left := size
	for ; left >= 0x80; left >>= 7 {
		made = append(made, byte(left&0x7f|0x80))
	}
	return append(append(made, byte(left)), bytes.Repeat([]byte("x"), size)...)
}

func load(kind string, args []string) {
	flags := flag.NewFlagSet("call", flag.ExitOnError)
	address := flags.String("address", "", "host:port")
	must(flags.Parse(args))
	shape := flags.Arg(0)
	more := flag.NewFlagSet(shape, flag.ExitOnError)
	concurrency, size := more.Int("concurrency", 1, "calls at once"), more.Int("size", 64, "bytes")
	must(more.Parse(flags.Args()[1:]))
	by, message := callers[kind](*address), payload(*size)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		ms, err := strconv.Atoi(lines.Text())
		must(err)
		begun := time.Now()
		until := begun.Add(time.Duration(ms) * time.Millisecond)
		completed, median := turns(*concurrency, until, func() int {
			if shape == "stream" {
				read, err := by.stream(streamed)
				must(err)
				if read != streamed {
					must(fmt.Errorf("%d messages came of %d", read, streamed))
				}
				return read
			}
			reply, err := by.call(message)
			must(err)
			if !bytes.Equal(reply, message) {
				must(fmt.Errorf("another message came back"))
			}
			return 1
		})
		figures := map[string]any{"completed": completed, "rate": float64(completed) / time.Since(begun).Seconds(), "p50_us": median}
		must(json.NewEncoder(os.Stdout).Encode(figures))
	}
}

// turns works on so many goroutines until it is time, and tells how much was done, and the median of a turn in microseconds.
func turns(concurrency int, until time.Time, work func() int) (done int, median float64) {
	var lock sync.Mutex
	var all []time.Duration
	var group sync.WaitGroup
	for range concurrency {
		group.Add(1)
		go func() {
			defer group.Done()
			var mine []time.Duration
			count := 0
			for begun := time.Now(); begun.Before(until); {
				count += work()
				now := time.Now()
				mine = append(mine, now.Sub(begun))
				begun = now
			}
			lock.Lock()
			defer lock.Unlock()
			all, done = append(all, mine...), done+count
		}()
	}
	group.Wait()
	if len(all) == 0 {
		return done, 0
	}
	slices.Sort(all)
	return done, float64(all[len(all)/2]) / float64(time.Microsecond)
}
