package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// lines answers JSON requests, one a line. Requests run at the same time and carry an id, so one may wait on what
// another causes.
//
//	{"id":1,"op":"call",...}  ->  {"id":1,"result":{...}}   the operation ran; its outcome, errors included
//	                          ->  {"id":1,"failure":"..."}  it could not be tried: the test asked for nonsense
type lines struct {
	operations map[string]operation
	mutex      sync.Mutex
	out        *os.File
}

type operation func(*request) (interface{}, error)

type request struct {
	line []byte
}

// into reads the fields of the request; unknown ones are left to the operation they are for.
func (r *request) into(v interface{}) error {
	return json.Unmarshal(r.line, v)
}

// newLines takes stdout for itself: go-micro logs there, and that belongs on stderr.
func newLines() *lines {
	l := &lines{operations: map[string]operation{}, out: os.Stdout}
	os.Stdout = os.Stderr
	return l
}

func (l *lines) on(op string, run operation) {
	l.operations[op] = run
}

func (l *lines) ready(facts map[string]interface{}) {
	facts["ready"] = true
	l.write(facts)
}

func (l *lines) write(v interface{}) {
	text, err := json.Marshal(v)
	if err != nil {
		fail(err)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.out.Write(append(text, '\n'))
}

// run answers until stdin ends.
func (l *lines) run() {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(make([]byte, 64*1024), 64*1024*1024)
	for input.Scan() {
		line := append([]byte(nil), input.Bytes()...)
		var head struct {
			ID uint64 `json:"id"`
			Op string `json:"op"`
		}
		if err := json.Unmarshal(line, &head); err != nil {
			l.write(map[string]interface{}{"id": 0, "failure": fmt.Sprintf("not a JSON request: %v", err)})
			continue
		}
		run, ok := l.operations[head.Op]
		if !ok {
			l.write(map[string]interface{}{"id": head.ID, "failure": fmt.Sprintf("unknown op %q", head.Op)})
			continue
		}
		go func() {
			result, err := run(&request{line})
			if err != nil {
				l.write(map[string]interface{}{"id": head.ID, "failure": err.Error()})
				return
			}
			l.write(map[string]interface{}{"id": head.ID, "result": result})
		}()
	}
}

// milliseconds is how long an operation may wait; 0 means the given default.
func milliseconds(n int64, or time.Duration) time.Duration {
	if n == 0 {
		return or
	}
	return time.Duration(n) * time.Millisecond
}
