package micro_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const outside = `package main

import (
	"context"
	"fmt"
	"log"

	micro "github.com/micro/micro/bindings/go"
)

func main() {
	url := "memory://outside"
	service := micro.NewService(micro.Name("greeter"), micro.Registry(url), micro.Network(url), micro.Environment(false))
	err := micro.Handle(service, "Greeter.Hello", func(_ context.Context, name string) (string, error) { return "Hello, " + name + "!", nil })
	if err == nil {
		err = service.Start()
	}
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	reply, err := micro.Call[string](context.Background(), service.Client(), "greeter", "Greeter.Hello", "Ada")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply)
}
`

// installed is a library that scripts/install has put into a folder of the test's own, and a program outside of the clone.
type installed struct {
	t              *testing.T
	root, prefix   string
	program, built string
	// Of its own, because what others compiled names another library.
	cache string
}

func install(t *testing.T) *installed {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("scripts/install is for systems with ELF")
	}
	root, err := filepath.Abs("../..")
	must(t, err)
	libraries := pkgConfig(t, "--variable=libraries")
	made := &installed{t: t, root: root, prefix: t.TempDir(), program: t.TempDir(), cache: t.TempDir()}
	made.run(nil, filepath.Join(root, "scripts/install"), "PREFIX="+made.prefix, "LIBRARIES="+libraries, "DESTDIR=")
	sums, err := os.ReadFile("go.sum")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(made.program, "go.sum"), sums, 0o600))
	must(t, os.WriteFile(filepath.Join(made.program, "main.go"), []byte(outside), 0o600))
	module := "module outside\n\ngo 1.24\n\nrequire (\n\tgithub.com/micro/micro/bindings/go v0.0.0\n\tgoogle.golang.org/protobuf v1.36.12\n)\n\n" +
		"replace github.com/micro/micro/bindings/go => " + filepath.Join(root, "bindings/go") + "\n"
	must(t, os.WriteFile(filepath.Join(made.program, "go.mod"), []byte(module), 0o600))
	made.built = filepath.Join(made.program, "outside")
	return made
}

func pkgConfig(t *testing.T, what string) string {
	t.Helper()
	said, err := exec.Command("pkg-config", what, "micro").Output()
	must(t, err)
	return strings.TrimSpace(string(said))
}

// run runs a shell's words in the folder of the program, with a library where pkg-config finds it.
func (i *installed) run(more []string, words ...string) string {
	i.t.Helper()
	said, err := i.try(more, words...)
	if err != nil {
		i.t.Fatalf("%s: %s\n%s", strings.Join(words, " "), err, said)
	}
	return said
}

func (i *installed) try(more []string, words ...string) (string, error) {
	command := exec.Command(words[0])
	for _, word := range words[1:] {
		if strings.HasPrefix(word, "PREFIX=") || strings.HasPrefix(word, "LIBRARIES=") || strings.HasPrefix(word, "DESTDIR=") {
			more = append(more, word)
		} else {
			command.Args = append(command.Args, word)
		}
	}
	command.Dir = i.program
	command.Env = append(os.Environ(), "PKG_CONFIG_PATH="+filepath.Join(i.prefix, "lib/pkgconfig"), "CGO_LDFLAGS=", "CGO_CFLAGS=",
		"GOCACHE="+i.cache)
	command.Env = append(command.Env, more...)
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	err := command.Run()
	return said.String(), err
}

// says is what the program prints, beside its log.
func (i *installed) says(library string) string {
	i.t.Helper()
	command := exec.Command(i.built)
	command.Env = append(os.Environ(), library)
	said, err := command.Output()
	must(i.t, err)
	return string(said)
}

// recipe is a line of docs/go.md that begins with some words, as it is printed there.
func (i *installed) recipe(begins string) string {
	i.t.Helper()
	page, err := os.ReadFile(filepath.Join(i.root, "docs/go.md"))
	must(i.t, err)
	for _, line := range strings.Split(string(page), "\n") {
		if strings.HasPrefix(line, begins) {
			return line
		}
	}
	i.t.Fatalf("docs/go.md has no line that begins with %s", begins)
	return ""
}

func (i *installed) libraries() string { return "LD_LIBRARY_PATH=" + filepath.Join(i.prefix, "lib") }

func TestAProgramOutsideHasTheLibraryBesideItOrInIt(t *testing.T) {
	program := install(t)
	program.run(nil, "sh", "-c", program.recipe("go build -o outside"))
	same(t, program.says(program.libraries()), "Hello, Ada!\n")

	// Missing: the loader says which.
	said, err := program.try([]string{"LD_LIBRARY_PATH="}, program.built)
	if err == nil || !strings.Contains(said, "libmicro.so.1: cannot open shared object file") {
		t.Errorf("%v: %s", err, said)
	}

	// Older: whatever uses it first says so, in one sentence.
	symbols, err := os.ReadFile(filepath.Join(program.root, "ffi/c/abi/symbols.txt"))
	must(t, err)
	var source strings.Builder
	for _, symbol := range strings.Fields(string(symbols)) {
		switch symbol {
		case "micro_abi_check":
			source.WriteString("int micro_abi_check(void) { return 1005; }\n")
		case "micro_abi_version":
			source.WriteString("unsigned micro_abi_version(void) { return 9; }\n")
		default:
			source.WriteString("void " + symbol + "(void) { __builtin_trap(); }\n")
		}
	}
	older := t.TempDir()
	must(t, os.WriteFile(filepath.Join(older, "older.c"), []byte(source.String()), 0o600))
	program.run(nil, "cc", "-shared", "-fPIC", "-w", "-o", filepath.Join(older, "libmicro.so.1"), filepath.Join(older, "older.c"))
	said, err = program.try([]string{"LD_LIBRARY_PATH=" + older}, program.built)
	if err == nil || !strings.Contains(said, "this program was built for libmicro 1.0, and the one that is loaded is 0.9: install") ||
		strings.Count(said, "\n") != 1 {
		t.Errorf("%v: %s", err, said)
	}

	// Static: it needs none.
	program.run(nil, "sh", "-c", program.recipe(`CGO_LDFLAGS="$(pkg-config --static`))
	same(t, program.says("LD_LIBRARY_PATH="), "Hello, Ada!\n")
	said, _ = program.try(nil, "ldd", program.built)
	if !strings.Contains(said, "not a dynamic executable") && !strings.Contains(said, "statically linked") {
		t.Errorf("it needs %s", said)
	}
}
