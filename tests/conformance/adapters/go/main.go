// The adapter of Go: one program for both roles. `../../README.md` says what it is told and answers.
package main

import (
	"bufio"
	"os"
)

// part is a role.
type part interface{ do(line) }

func main() {
	var mine part
	switch os.Args[len(os.Args)-1] {
	case "server":
		mine = newHost()
	case "client":
		mine = newCaller()
	default:
		panic("the role is server or client")
	}
	tell("ready", field{"language", "go"})
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 128*1024)
	for in.Scan() {
		asked := parse(in.Text())
		if asked.verb == "exit" {
			break
		}
		mine.do(asked)
	}
	// Whatever is still running ends with the process.
	os.Exit(0)
}
