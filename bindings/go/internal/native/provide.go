package native

// #include "shim.h"
import "C"

// Provide makes a registry or a broker of the program's own known by name: questions to it come to `serve` as calls, whose methods are the
// operations. Stop withdraws the name; Over tells when it is free.
func Provide(runtime *Runtime, area uint32, name string, serve func(*Inbound)) (*Server, *Error) {
	made := &Server{
		runtime: runtime,
		gate:    newGate(),
		made:    func() *Inbound { return new(Inbound) },
		serve:   serve,
		opened:  make(chan struct{}),
		over:    make(chan struct{}),
		calls:   map[ID]*Inbound{},
	}
	if !runtime.gate.enter() {
		return nil, errClosed
	}
	defer runtime.gate.leave()
	queue := runtime.queue()
	token, ok := queue.table.add(made)
	if !ok {
		return nil, errClosed
	}
	at, length := pointer(name)
	var id C.micro_id
	var err *C.micro_error
	status := C.go_provide(runtime.runtime, C.uint32_t(area), at, length, queue.queue, C.uint64_t(token), &id, &err)
	if status != C.MICRO_OK {
		queue.table.remove(token)
		return nil, failed(status, err)
	}
	made.id.Store(uint64(id))
	made.isOpen.Store(true)
	runtime.Retain()
	return made, nil
}
