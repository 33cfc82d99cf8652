@echo off
rem Look for Python 3.11 or newer, in this folder first, and show the pages in a browser.
setlocal
cd /d "%~dp0"
for %%p in ("python\python.exe" "py -3" "python" "python3") do (
  %%~p -c "import sys; sys.exit(sys.version_info < (3, 11))" >nul 2>nul && (
    %%~p start.py %*
    goto end
  )
)
echo Python 3.11 or newer was not found. README.txt says where to get it.
:end
pause
