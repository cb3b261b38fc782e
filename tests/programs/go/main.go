// Go programs that watch their configuration, one at a time:
//
//	programs viper|koanf|dotdata FOLDER FILE
//
// Each prints `ready VERSION` when it watches, and one line a reaction: what the library told, and
// what is in the file and under the told name at that moment. `ignored NAME` is an event that the
// program heard and passed over.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
)

var programs = map[string]func(folder, file string) error{
	"viper":   watchViper,
	"koanf":   watchKoanf,
	"dotdata": watchDotdata,
}

func main() {
	watch := programs[os.Args[1]]
	if err := watch(os.Args[2], os.Args[3]); err != nil {
		fail(err)
	}
	select {}
}

// ready says that the program watches, and which version of the library it is.
func ready(module string) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == module {
				fmt.Println("ready", dependency.Version)
			}
		}
	}
}

// reaction tells one call of the changed-callback: its path, and what the program made of the file.
func reaction(path, content string) {
	line, err := json.Marshal(map[string]any{
		"name":  filepath.Base(path),
		"file":  content,
		"named": read(path),
	})
	if err != nil {
		fail(err)
	}
	fmt.Println("reaction", string(line))
}

// read returns a file's content, or nil where there is none.
func read(path string) any {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return string(content)
}

func fail(err error) {
	fmt.Println("error", err)
	os.Exit(1)
}
