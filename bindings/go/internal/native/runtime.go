package native

// #include "shim.h"
import "C"

import (
	"encoding/json"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Runtime is the threads of the library, and the queues on which it tells.
type Runtime struct {
	runtime *C.micro_runtime
	queues  []*Queue
	next    atomic.Uint32
	gate    gate
	users   int
}

// gate keeps an object alive while functions use it. Functions enter and leave; once it is shut none enters, and the last to
// leave opens the way to free it.
type gate struct {
	state atomic.Int64
	empty chan struct{}
}

const shut = int64(1) << 62

func (g *gate) enter() bool {
	if g.state.Add(1)&shut == 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.state.Add(-1) == shut {
		select {
		case g.empty <- struct{}{}:
		default:
		}
	}
}

// shut returns when nothing uses the object any more; false where it was shut before.
func (g *gate) shut() bool {
	if before := g.state.Or(shut); before&shut != 0 {
		return false
	} else if before == 0 {
		return true
	}
	<-g.empty
	return true
}

func newGate() gate { return gate{empty: make(chan struct{}, 1)} }

// NewRuntime starts threads. Log records come to `logs` as JSON arrays, unless that is nil.
func NewRuntime(options map[string]any, logs func([]byte)) (*Runtime, error) {
	if err := Check(); err != nil {
		return nil, err
	}
	document, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	made := &Runtime{gate: newGate()}
	data, size := pointer(document)
	var wrong *C.micro_error
	if status := C.go_runtime_new(data, size, &made.runtime, &wrong); status != C.MICRO_OK {
		return nil, failed(status, wrong)
	}
	for range max(1, min(4, runtime.GOMAXPROCS(0)/4)) {
		queue, failure := newQueue(made.runtime, nil)
		if failure == nil {
			made.queues = append(made.queues, queue)
			continue
		}
		made.Close(0)
		return nil, failure
	}
	if logs != nil {
		// One of its own, so that records come while others are busy.
		queue, failure := newQueue(made.runtime, logs)
		if failure != nil {
			made.Close(0)
			return nil, failure
		}
		made.queues = append(made.queues, queue)
		made.users = 0
	}
	return made, nil
}

// queue is the next in turn.
func (r *Runtime) queue() *Queue {
	count := uint32(len(r.queues))
	if r.queues[count-1].logs != nil {
		count--
	}
	if count == 1 {
		return r.queues[0]
	}
	return r.queues[r.next.Add(1)%count]
}

// Close ends whatever is under way: services get `grace` nanoseconds to finish. It waits for the end; harmless when repeated.
func (r *Runtime) Close(grace uint64) {
	if !r.gate.enter() {
		return
	}
	C.micro_runtime_shutdown(r.runtime, C.uint64_t(grace))
	r.gate.leave()
	for _, queue := range r.queues {
		<-queue.done
	}
	if !r.gate.shut() {
		return
	}
	C.micro_runtime_free(r.runtime)
	for _, queue := range r.queues {
		C.micro_queue_free(queue.queue)
	}
}

// Cancel ends whatever the id names; harmless when late.
func (r *Runtime) Cancel(id ID) {
	if id != 0 && r.gate.enter() {
		C.micro_cancel(r.runtime, C.micro_id(id))
		r.gate.leave()
	}
}

// Settle says what became of a message. Stale where that was said before, or it is the program's no more.
func (r *Runtime) Settle(message ID, verdict uint32, after time.Duration, reason string) *Error {
	if !r.gate.enter() {
		return errClosed
	}
	defer r.gate.leave()
	at, length := pointer(strings.ToValidUTF8(reason, "\uFFFD"))
	switch status := C.go_settle(r.runtime, C.micro_id(message), C.uint32_t(verdict), C.uint64_t(max(0, after)), at, length); status {
	case C.MICRO_OK:
		return nil
	default:
		return &Error{Status: int32(status), ID: "micro", Message: "nothing can be said of this message any more: " + text(C.micro_status_name(status))}
	}
}

// Numbers are what crossed the border so far.
type Numbers struct {
	// Batches drained, and the events in them.
	Batches, Events uint64
	// Operations, streams and services that wait to be told.
	Waiting int
}

// Numbers tells what crossed the border so far.
func (r *Runtime) Numbers() (told Numbers) {
	for _, queue := range r.queues {
		told.Batches += queue.batches.Load()
		told.Events += queue.drained.Load()
		told.Waiting += queue.table.waiting()
	}
	return told
}

// The runtime of the process, which lives while something uses it.
var shared struct {
	sync.Mutex
	runtime *Runtime
}

// Acquire gives the runtime of the process, made where there is none; Release gives it back.
func Acquire() (*Runtime, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.runtime == nil {
		made, err := NewRuntime(map[string]any{"log": level()}, toSlog)
		if err != nil {
			return nil, err
		}
		shared.runtime = made
	}
	shared.runtime.users++
	return shared.runtime, nil
}

// Release gives back what Acquire gave. The last to do so ends it, and waits for that.
func (r *Runtime) Release() {
	shared.Lock()
	r.users--
	last := r.users == 0
	if last && shared.runtime == r {
		shared.runtime = nil
	}
	shared.Unlock()
	if last {
		r.Close(0)
	}
}

// Retain is for one more user of a runtime that is in use.
func (r *Runtime) Retain() {
	shared.Lock()
	r.users++
	shared.Unlock()
}

// Waiting is how many operations, streams and services of the runtime of the process wait to be told, for tests that look for leaks.
func Waiting() int {
	shared.Lock()
	defer shared.Unlock()
	if shared.runtime == nil {
		return 0
	}
	return shared.runtime.Numbers().Waiting
}

// Crossed is what crossed the border so far, for the runtime of the process, for benchmarks.
func Crossed() Numbers {
	shared.Lock()
	defer shared.Unlock()
	if shared.runtime == nil {
		return Numbers{}
	}
	return shared.runtime.Numbers()
}
