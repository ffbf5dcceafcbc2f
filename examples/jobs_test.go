package examples

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// inFolder is a program of an example, with a broker in a folder.
func inFolder(t *testing.T, made, folder string, arguments ...string) *exec.Cmd {
	command := exec.Command(made, arguments...)
	command.Env = append(os.Environ(), "MICRO_REGISTRY=local://"+t.TempDir(), "MICRO_SERVER_ADDRESS=127.0.0.1:0",
		"MICRO_BROKER=durable://"+folder, "CLEAN_UP=* * * * * *")
	command.Stderr = os.Stderr
	return command
}

func TestJobsRunByTheClock(t *testing.T) {
	service := inFolder(t, program(t, "jobs", "jobs"), t.TempDir())
	printed, err := service.StdoutPipe()
	if err == nil {
		err = service.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	// What reads its lines ends with it.
	late := time.AfterFunc(patience, func() { _ = service.Process.Kill() })
	defer late.Stop()
	wanted := map[string]bool{"cleaned, attempt 1": true, "refreshed": true}
	for lines := bufio.NewScanner(printed); len(wanted) > 0 && lines.Scan(); {
		delete(wanted, lines.Text())
	}
	_ = service.Process.Kill()
	_ = service.Wait()
	if len(wanted) > 0 {
		t.Errorf("it never said %v", wanted)
	}
}

func TestTheAnswerOfATaskIsAskedForByItsId(t *testing.T) {
	made, folder := program(t, "tasks", "tasks"), t.TempDir()
	said := func(arguments ...string) []string {
		t.Helper()
		output, err := inFolder(t, made, folder, arguments...).Output()
		if err != nil {
			t.Fatalf("%v: %s", arguments, err)
		}
		return strings.Fields(string(output))
	}
	id := said("send", "21")[0]
	worker := inFolder(t, made, folder)
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = worker.Process.Kill()
		_ = worker.Wait()
	}()
	if answer := said("ask", id); answer[1] != "42" {
		t.Errorf("the answer is %v", answer)
	}
}
