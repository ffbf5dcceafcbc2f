package native

// #include "shim.h"
import "C"

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Kinds of events.
const (
	Reply         = C.MICRO_EVENT_REPLY
	Opened        = C.MICRO_EVENT_OPENED
	Message       = C.MICRO_EVENT_MESSAGE
	End           = C.MICRO_EVENT_END
	Call          = C.MICRO_EVENT_CALL
	CallCancelled = C.MICRO_EVENT_CALL_CANCELLED
	Change        = C.MICRO_EVENT_CHANGE
	Delivery      = C.MICRO_EVENT_DELIVERY
	Writable      = C.MICRO_EVENT_WRITABLE
	Log           = C.MICRO_EVENT_LOG
)

// Event is what a queue told.
type Event struct {
	Kind    uint16
	Flags   uint16
	Status  int32
	ID      ID
	Method  uint32
	Timeout uint64
	Err     *Error
	// In the library's memory, until the event is over.
	payload, meta C.micro_bytes
}

// Payload is a copy of the message, or nil.
func (e *Event) Payload() []byte { return copied(e.payload) }

// Meta is a copy of the blocks of metadata, or nil.
func (e *Event) Meta() []byte { return copied(e.meta) }

// together is how large two things are at most that share one piece of memory, which lives as long as either.
const together = 1024

// Both is Payload and Meta, in one piece where they are small.
func (e *Event) Both() (payload, meta []byte) {
	first, second := int(e.payload.len), int(e.meta.len)
	if first == 0 || second == 0 || first+second > together {
		return e.Payload(), e.Meta()
	}
	both := make([]byte, first+second)
	copy(both, within(e.payload))
	copy(both[first:], within(e.meta))
	return both[:first:first], both[first:]
}

// Told hears of events, on the goroutine that drains the queue: it returns at once, and keeps no more than copies of the event,
// which is used again. True ends it: its token is forgotten.
type Told interface{ Told(*Event) bool }

// batch is how many events one crossing brings at most.
const batch = 256

// Queue is where everything is told.
type Queue struct {
	queue  *C.micro_queue
	file   *os.File
	events *C.micro_event
	done   chan struct{}
	logs   func([]byte)
	table  table
	event  Event
	// Batches and events drained so far, told by Stats.
	batches, drained atomic.Uint64
}

func newQueue(runtime *C.micro_runtime, logs func([]byte)) (*Queue, *Error) {
	made := &Queue{done: make(chan struct{}), logs: logs}
	var flags C.uint32_t
	if logs != nil {
		flags = C.MICRO_QUEUE_LOGS
	}
	var err *C.micro_error
	if status := C.micro_queue_new(runtime, flags, &made.queue, &err); status != C.MICRO_OK {
		return nil, failed(status, err)
	}
	fd, wrong := duplicate(int(C.micro_queue_fd(made.queue)))
	if wrong == nil {
		// The poller takes what does not block.
		wrong = syscall.SetNonblock(fd, true)
	}
	if wrong != nil {
		C.micro_queue_free(made.queue)
		return nil, &Error{Status: 13, ID: "micro", Message: "a queue cannot be watched: " + wrong.Error()}
	}
	made.file = os.NewFile(uintptr(fd), "micro queue")
	made.events = (*C.micro_event)(C.calloc(batch, C.sizeof_micro_event))
	go made.run()
	return made, nil
}

func duplicate(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	made, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(made)
	}
	return made, err
}

// run drains until the runtime is over. Draining is what makes the descriptor unreadable.
func (q *Queue) run() {
	defer close(q.done)
	raw, err := q.file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(uintptr) bool { return q.drain() })
	_ = q.file.Close()
	C.free(unsafe.Pointer(q.events))
	q.table.close()
}

// drain takes what waits; true when nothing will come any more.
func (q *Queue) drain() bool {
	event := &q.event
	for {
		count := int(C.go_drain(q.queue, q.events, batch))
		if count == 0 {
			return false
		}
		q.batches.Add(1)
		q.drained.Add(uint64(count))
		events := unsafe.Slice(q.events, count)
		closed, holds := false, false
		for index := range events {
			from := &events[index]
			holds = holds || from.payload.own != nil || from.meta.own != nil || from.error != nil
			if from.kind == C.MICRO_EVENT_CLOSED {
				closed = true
				continue
			}
			*event = Event{
				Kind:    uint16(from.kind),
				Flags:   uint16(from.flags),
				Status:  int32(from.status),
				ID:      ID(from.id),
				Method:  uint32(from.method),
				Timeout: uint64(from.timeout_ns),
				payload: from.payload,
				meta:    from.meta,
			}
			if from.error != nil {
				event.Err = read(from.status, from.error)
				if event.Err.take(from.error) {
					from.error = nil
				}
			} else if from.status != C.MICRO_OK {
				event.Err = &Error{Status: int32(from.status)}
			}
			if event.Kind == Log {
				if q.logs != nil {
					q.logs(event.Payload())
				}
				continue
			}
			token := uint64(from.token)
			if told := q.table.find(token); told != nil && told.Told(event) {
				q.table.remove(token)
			}
		}
		if holds {
			C.go_events_release(q.events, C.size_t(count))
		}
		if closed {
			return true
		}
		if count < batch {
			// What was left, or comes from now on, makes the descriptor readable once more.
			return false
		}
	}
}

func within(from C.micro_bytes) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(from.ptr)), int(from.len))
}

func copied(from C.micro_bytes) []byte {
	if from.len == 0 {
		return nil
	}
	return append([]byte(nil), within(from)...)
}

// table gives tokens to those who are told. A token is known before the library hears of it, because events may come first.
type table struct {
	lock  sync.Mutex
	slots []slot
	free  []uint32
	over  bool
}

type slot struct {
	told       Told
	generation uint32
}

func (t *table) add(told Told) (uint64, bool) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.over {
		return 0, false
	}
	var index uint32
	if last := len(t.free) - 1; last >= 0 {
		index, t.free = t.free[last], t.free[:last]
	} else {
		index = uint32(len(t.slots))
		t.slots = append(t.slots, slot{})
	}
	t.slots[index].told = told
	return uint64(t.slots[index].generation)<<32 | uint64(index), true
}

func (t *table) find(token uint64) Told {
	t.lock.Lock()
	defer t.lock.Unlock()
	index := uint32(token)
	if int(index) >= len(t.slots) || t.slots[index].generation != uint32(token>>32) {
		return nil
	}
	return t.slots[index].told
}

func (t *table) remove(token uint64) {
	t.lock.Lock()
	defer t.lock.Unlock()
	index := uint32(token)
	if int(index) < len(t.slots) && t.slots[index].generation == uint32(token>>32) {
		t.slots[index].told = nil
		t.slots[index].generation++
		t.free = append(t.free, index)
	}
}

// close tells all that still wait that the runtime is over.
func (t *table) close() {
	t.lock.Lock()
	t.over = true
	var left []Told
	for _, one := range t.slots {
		if one.told != nil {
			left = append(left, one.told)
		}
	}
	t.slots = nil
	t.lock.Unlock()
	for _, one := range left {
		one.Told(&Event{Kind: End, Status: Closed, Err: &Error{Status: Closed, ID: "micro", Message: "the runtime is closed"}})
	}
}

// each shows all that wait to a function, which must not use the table.
func (t *table) each(show func(Told)) {
	t.lock.Lock()
	defer t.lock.Unlock()
	for _, one := range t.slots {
		if one.told != nil {
			show(one.told)
		}
	}
}

// waiting is how many tokens are known.
func (t *table) waiting() int {
	t.lock.Lock()
	defer t.lock.Unlock()
	return len(t.slots) - len(t.free)
}
