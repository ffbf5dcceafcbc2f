package examples

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Set in the network of a test's own, to where its programs are.
const inside = "MICRO_TEST_PROGRAMS"

// go-micro finds services by multicast DNS alone: a network of its own keeps a test from those of others.
const setUp = `ip link set lo up multicast on && ip route add 224.0.0.0/4 dev lo && exec "$@"`

// alone runs a test again in a network of its own.
func alone(t *testing.T, programs string) {
	t.Helper()
	for _, way := range []string{"-n", "-Urn"} {
		if exec.Command("unshare", way, "--", "sh", "-c", setUp, "sh", "true").Run() != nil {
			continue
		}
		again := exec.Command("unshare", way, "--", "sh", "-c", setUp, "sh", os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		again.Env = append(os.Environ(), inside+"="+programs)
		said, err := again.CombinedOutput()
		if err != nil || !bytes.Contains(said, []byte("--- PASS: "+t.Name())) {
			t.Fatalf("%v\n%s", err, said)
		}
		return
	}
	t.Skip("unshare makes no network of the test's own here")
}

// A greeter of go-micro v2, and the same with other imports, each called by the client of each.
func TestAGreeterOfGoMicroMovesByItsImports(t *testing.T) {
	programs := os.Getenv(inside)
	if programs == "" {
		programs = t.TempDir()
		for _, side := range []string{"before", "after"} {
			for _, part := range []string{"service", "client"} {
				build := exec.Command("go", "build", "-o", filepath.Join(programs, side+"-"+part), "./"+part)
				build.Dir = filepath.Join("go-micro", side)
				if said, err := build.CombinedOutput(); err != nil {
					t.Fatalf("%s/%s: %s\n%s", side, part, err, said)
				}
			}
		}
		alone(t, programs)
		return
	}
	for _, service := range []string{"before", "after"} {
		for _, client := range []string{"before", "after"} {
			greet(t, programs, service, client)
		}
	}
}

func greet(t *testing.T, programs, service, client string) {
	t.Helper()
	environment := append(os.Environ(), "MICRO_REGISTRY=mdns", "MICRO_SERVER_ADDRESS=127.0.0.1:0")
	serving := exec.Command(filepath.Join(programs, service+"-service"))
	serving.Env = environment
	printed, err := serving.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	serving.Stderr = os.Stderr
	if err := serving.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = serving.Process.Kill() }()
	var said []byte
	// It is there once it is found.
	for until := time.Now().Add(20 * time.Second); ; {
		calling := exec.Command(filepath.Join(programs, client+"-client"))
		calling.Env = environment
		calling.Stderr = new(bytes.Buffer)
		if said, err = calling.Output(); err == nil {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("the client %s of the service %s: %s\n%s%s", client, service, err, said, calling.Stderr)
		}
	}
	wanted := "Hello, Ada of blue!\ngreeter 400 a name is missing\nHello for the 1. time, Ada!\nHello for the 2. time, Ada!\n" +
		"Hello, Bob!\nHello, Eve!\n"
	if string(said) != wanted {
		t.Errorf("the client %s of the service %s printed\n%s", client, service, said)
	}
	if err := serving.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stopped := false
	for lines := bufio.NewScanner(printed); lines.Scan(); {
		stopped = stopped || lines.Text() == "stopped"
	}
	if err := serving.Wait(); err != nil || !stopped {
		t.Errorf("the service %s ended with %v, its hook ran: %v", service, err, stopped)
	}
}

var path = regexp.MustCompile(`"github.com/micro/[^"]*"`)

func TestNothingButImportsDiffers(t *testing.T) {
	for _, name := range []string{"service/main.go", "client/main.go", "greeter/greeter.pb.micro.go", "greeter/greeter.pb.go"} {
		var sides [2]string
		for number, side := range []string{"before", "after"} {
			text, err := os.ReadFile(filepath.Join("go-micro", side, name))
			if err != nil {
				t.Fatal(err)
			}
			sides[number] = string(text)
		}
		before, after := strings.Split(sides[0], "\n"), strings.Split(sides[1], "\n")
		if len(before) != len(after) {
			t.Fatalf("%s has other lines", name)
		}
		for number := range before {
			if before[number] != after[number] && !(path.MatchString(before[number]) && path.MatchString(after[number])) {
				t.Errorf("%s:%d: %s is now %s", name, number+1, before[number], after[number])
			}
		}
	}
}

// What differs is what docs/moving-from-go-micro.md shows.
func TestThePageShowsTheWholeDifference(t *testing.T) {
	page, err := os.ReadFile("../docs/moving-from-go-micro.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"service/main.go", "client/main.go", "greeter/greeter.pb.micro.go"} {
		said, err := exec.Command("diff", "-U0", filepath.Join("go-micro/before", name), filepath.Join("go-micro/after", name)).Output()
		if err == nil {
			t.Fatalf("%s is the same", name)
		}
		var shown strings.Builder
		for _, line := range strings.Split(string(said), "\n") {
			if line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "+++") && !strings.HasPrefix(line, "@@") {
				shown.WriteString(line + "\n")
			}
		}
		if !bytes.Contains(page, []byte("```diff\n"+shown.String()+"```")) {
			t.Errorf("the page does not show how %s differs:\n%s", name, shown.String())
		}
	}
}
