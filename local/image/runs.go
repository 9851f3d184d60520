package main

import (
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// unfit is why an image cannot run as a plain process of this machine.
type unfit string

func (u unfit) Error() string {
	return "this image cannot run here as a plain process: " + string(u) + "; docs/local.md says which images do, and how podman runs another one beside it"
}

func unfitf(format string, args ...any) error { return unfit(fmt.Sprintf(format, args...)) }

// platformImage is the image of one platform.
type platformImage struct {
	v1.Platform
	v1.Image
}

// platformsOf lists the images that can run: without the attestations that Docker adds to an index.
func platformsOf(c content) ([]platformImage, error) {
	switch c := c.(type) {
	case v1.ImageIndex:
		return platformsOfIndex(c)
	case v1.Image:
		return platformOfImage(c, nil)
	}
	return nil, fmt.Errorf("a %T is neither an index nor an image", c)
}

func platformsOfIndex(index v1.ImageIndex) ([]platformImage, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var all []platformImage
	for _, child := range manifest.Manifests {
		var found []platformImage
		switch {
		case child.Platform != nil && child.Platform.OS == "unknown":
			continue
		case child.MediaType.IsIndex():
			inner, err := index.ImageIndex(child.Digest)
			if err != nil {
				return nil, err
			}
			if found, err = platformsOfIndex(inner); err != nil {
				return nil, err
			}
		case child.MediaType.IsImage():
			image, err := index.Image(child.Digest)
			if err != nil {
				return nil, err
			}
			if found, err = platformOfImage(image, child.Platform); err != nil {
				return nil, err
			}
		}
		all = append(all, found...)
	}
	return all, nil
}

// platformOfImage takes the platform that an index states, else the one of the image's configuration.
func platformOfImage(image v1.Image, stated *v1.Platform) ([]platformImage, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the image's configuration: %w", err)
	}
	if platform := cmp.Or(stated, config.Platform()); platform != nil {
		return []platformImage{{*platform, image}}, nil
	}
	return nil, nil
}

func names(platforms []platformImage) string {
	var all []string
	for _, p := range platforms {
		all = append(all, p.String())
	}
	return strings.Join(all, ", ")
}

// checkRuns returns an [unfit] error unless one of the images can run as a plain process of a machine of this
// architecture. With staticOnly, a program must need no file of its image.
func checkRuns(platforms []platformImage, arch string, staticOnly bool) error {
	for _, p := range platforms {
		if p.OS != "linux" || p.Architecture != arch {
			continue
		}
		config, err := p.ConfigFile()
		if err != nil {
			return err
		}
		files, err := readFiles(p.Image)
		if err != nil {
			return err
		}
		return checkProgram(files, config.Config, arch, staticOnly)
	}
	return unfitf("it is for %s, but this machine runs linux/%s: build it for linux/%[2]s, too", cmp.Or(names(platforms), "no platform"), arch)
}

// defaultPath is where container engines look for a program, if the image sets no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// checkProgram follows the image's command to the program that the kernel would run.
func checkProgram(files *imageFiles, config v1.Config, arch string, staticOnly bool) error {
	command := append(append([]string{}, config.Entrypoint...), config.Cmd...)
	if len(command) == 0 || command[0] == "" {
		return unfitf("it has neither an entrypoint nor a command")
	}
	program, err := find(files, command[0], config)
	if err != nil {
		return err
	}
	// A script's interpreter may be a script; the kernel follows four.
	for range 5 {
		next, err := checkFile(files, program, arch, staticOnly)
		if next == "" || err != nil {
			return err
		}
		interpreter, err := files.resolve(next)
		if err != nil {
			return unfitf("its program is a script, %s, whose interpreter %s is not in the image: %v", program, next, err)
		}
		program = interpreter
	}
	return unfitf("its program is a script whose interpreters are scripts, more of them than Linux follows")
}

// find returns the path, without links, of the program that a command's first word means.
func find(files *imageFiles, word string, config v1.Config) (string, error) {
	if strings.Contains(word, "/") {
		named := word
		if !path.IsAbs(word) {
			named = path.Join("/", config.WorkingDir, word)
		}
		program, err := files.resolve(named)
		if err != nil {
			return "", unfitf("its program %s is not in the image: %v", word, err)
		}
		return program, nil
	}
	search := defaultPath
	for _, variable := range config.Env {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			search = value
		}
	}
	for folder := range strings.SplitSeq(search, ":") {
		if program, err := files.resolve(path.Join("/", folder, word)); err == nil {
			return program, nil
		}
	}
	return "", unfitf("its program %s is in no folder of the image's PATH, %s", word, search)
}

// checkFile tells why a file of the image cannot run. For a script it returns the interpreter.
func checkFile(files *imageFiles, program, arch string, staticOnly bool) (interpreter string, err error) {
	if mode := files.mode(program); mode&0o111 == 0 {
		return "", unfitf("%s may not be executed, its mode is %04o: set it by `chmod +x` before the image is built", program, mode)
	}
	content, err := files.read(program)
	if err != nil {
		return "", err
	}
	if line, ok := bytes.CutPrefix(content, []byte("#!")); ok {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		words := strings.Fields(string(line))
		switch {
		case len(words) == 0:
			return "", unfitf("%s is a script that names no interpreter after #!", program)
		case staticOnly:
			return "", unfitf("%s is a script of %s, %s", program, words[0], needsRoot)
		}
		return words[0], nil
	}
	return "", checkELF(files, program, content, arch, staticOnly)
}

const needsRoot = "which would be looked for on this machine: without root a container has no root directory of its own. Start the local target as root, or release a static program"

// machines are the names of processors in programs.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

func checkELF(files *imageFiles, program string, content []byte, arch string, staticOnly bool) error {
	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return unfitf("%s is neither a program of Linux nor a script that begins with #!: %v", program, err)
	}
	if want, known := machines[arch]; known && file.Machine != want {
		return unfitf("%s is a program for %s, but this machine is linux/%s (%s): the image's platform is not what it says", program, file.Machine, arch, want)
	}
	if file.Type != elf.ET_EXEC && file.Type != elf.ET_DYN {
		return unfitf("%s is no program, but an object file (%s)", program, file.Type)
	}
	for _, part := range file.Progs {
		if part.Type != elf.PT_INTERP {
			continue
		}
		text, err := io.ReadAll(part.Open())
		if err != nil {
			return unfitf("%s: its dynamic loader's name cannot be read: %v", program, err)
		}
		loader := string(bytes.TrimRight(text, "\x00"))
		if staticOnly {
			return unfitf("%s needs the dynamic loader %s, %s", program, loader, needsRoot)
		}
		if _, err := files.resolve(loader); err != nil {
			return unfitf("%s needs the dynamic loader %s, which is not in the image: %v", program, loader, err)
		}
	}
	return nil
}
